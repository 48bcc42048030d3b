"""LIBERO for less time: draw and compute only what somebody reads, equal to stock bit for bit."""
