"""Runs over time as one page, by suite, scale and machine (``wmbench history``)."""
