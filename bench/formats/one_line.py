"""Foreign text, fit for one line of a terminal."""

LONGEST = 240
"""Characters of a value or message that one line shows."""


def one_line(text: str) -> str:
    """Fit for a terminal: printable, on one line, cut if it is very long."""
    words = " ".join(text.split())
    shown = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in words)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."
