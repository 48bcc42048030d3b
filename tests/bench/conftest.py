"""Settings of all tests of bench. Its folder holds `synthetic_run`, which pytest makes importable through this file."""

from hypothesis import settings

# Two busy cores make single examples slow; how long one takes says nothing about what it tests.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")
