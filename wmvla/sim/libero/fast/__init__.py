"""LIBERO for less time: draw and compute only what somebody reads. Proven equal to stock LIBERO,
bit for bit."""
