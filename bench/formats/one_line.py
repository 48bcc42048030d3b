"""Foreign text, fit for one line of a terminal."""

LONGEST = 240
"""Characters of a value or message that one line shows."""


def one_line(text: str) -> str:
    """Fit for a terminal: printable, on one line, cut where it is very long."""
    shown = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in " ".join(text.split())
    )
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."
