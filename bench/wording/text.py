"""Parts of sentences."""

from collections.abc import Sequence


def sentence_case(text: str) -> str:
    """With a capital at its beginning, to stand alone."""
    return text[0].upper() + text[1:]


def listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
