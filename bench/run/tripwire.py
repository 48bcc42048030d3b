"""What stops a run for good: a wiring check that failed."""


class TripwireError(RuntimeError):
    """Wired wrongly. Nothing may be trained: every figure would be of another experiment."""
