"""Runs held against other runs, against control runs, and beside what others measured."""
