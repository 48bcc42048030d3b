"""Runs over time as one page: success and speed of every suite, scale and machine (``wmbench
history``)."""
