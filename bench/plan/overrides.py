"""What a command line may change about a suite's scale, as text from `make` to frozen numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wmvla.errors import UserError


@dataclass(frozen=True)
class Overrides:
    """None: as the suite says."""

    seeds: tuple[int, ...] | None = None
    arms: tuple[str, ...] | None = None
    episodes: int | None = None
    """Per task, the same for every arm."""
    steps: int | None = None
    batch_size: int | None = None
    total_samples: int | None = None
    sequential: str | None = None
    """Spending function of a sequential plan; None: a plan of fixed size."""


def parse_overrides(**given: str | None) -> Overrides:
    """Overrides from command-line text; None leaves a value. UserError names the option."""
    texts = {name: text for name, text in given.items() if text is not None}
    if "," in (episodes := texts.get("episodes", "")):
        raise UserError(
            f"EPISODES={episodes}: give one number for every arm; arms with unequal counts cannot"
            " be compared"
        )
    return Overrides(**{name: PARSERS[name](text, name.upper()) for name, text in texts.items()})


def _seeds(text: str, option: str) -> tuple[int, ...]:
    return tuple(sorted(_whole(one, option, least=0) for one in _parts(text, option)))


def _parts(text: str, option: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(","))
    if "" in parts:
        raise UserError(f"{option}={text}: an entry is empty; separate entries by single commas")
    if len(set(parts)) < len(parts):
        raise UserError(f"{option}={text}: an entry is given twice")
    return parts


def _whole(text: str, option: str, least: int = 1) -> int:
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        raise UserError(f"{option}={text}: not a whole number") from None
    if number < least:
        raise UserError(f"{option}={text}: must be at least {least}")
    return number


PARSERS: dict[str, Callable[[str, str], Any]] = {
    "seeds": _seeds,
    "arms": _parts,
    **dict.fromkeys(("episodes", "steps", "batch_size", "total_samples"), _whole),
    "sequential": lambda text, _: text,
}
