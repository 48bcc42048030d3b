"""What a command line may change about a suite's scale, as text from `make` to frozen numbers."""

from dataclasses import dataclass

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


def parse_overrides(
    seeds: str | None = None,
    arms: str | None = None,
    episodes: str | None = None,
    steps: str | None = None,
    batch_size: str | None = None,
    total_samples: str | None = None,
    sequential: str | None = None,
) -> Overrides:
    """Overrides from command-line text; None leaves a value as it is. UserError names the
    option."""
    if episodes is not None and "," in episodes:
        raise UserError(
            f"EPISODES={episodes}: give one number for every arm; arms with unequal counts cannot"
            " be compared"
        )
    return Overrides(
        seeds=(
            tuple(sorted(_whole(text, "SEEDS", 0) for text in _parts(seeds, "SEEDS")))
            if seeds is not None
            else None
        ),
        arms=tuple(_parts(arms, "ARMS")) if arms is not None else None,
        episodes=_whole(episodes, "EPISODES", 1) if episodes is not None else None,
        steps=_whole(steps, "STEPS", 1) if steps is not None else None,
        batch_size=_whole(batch_size, "BATCH_SIZE", 1) if batch_size is not None else None,
        total_samples=(
            _whole(total_samples, "TOTAL_SAMPLES", 1) if total_samples is not None else None
        ),
        sequential=sequential,
    )


def _parts(text: str, option: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if "" in parts:
        raise UserError(f"{option}={text}: an entry is empty; separate entries by single commas")
    if len(set(parts)) < len(parts):
        raise UserError(f"{option}={text}: an entry is given twice")
    return parts


def _whole(text: str, option: str, least: int) -> int:
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        raise UserError(f"{option}={text}: not a whole number") from None
    if number < least:
        raise UserError(f"{option}={text}: must be at least {least}")
    return number
