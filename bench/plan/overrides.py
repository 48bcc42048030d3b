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
    """Overrides from command-line text; None leaves a value. UserError names the option."""
    if episodes is not None and "," in episodes:
        raise UserError(
            f"EPISODES={episodes}: give one number for every arm; arms with unequal counts cannot"
            " be compared"
        )

    def number(text: str | None, option: str) -> int | None:
        return None if text is None else _whole(text, option, 1)

    numbers = None if seeds is None else (_whole(one, "SEEDS", 0) for one in _parts(seeds, "SEEDS"))
    return Overrides(
        seeds=None if numbers is None else tuple(sorted(numbers)),
        arms=tuple(_parts(arms, "ARMS")) if arms is not None else None,
        episodes=number(episodes, "EPISODES"),
        steps=number(steps, "STEPS"),
        batch_size=number(batch_size, "BATCH_SIZE"),
        total_samples=number(total_samples, "TOTAL_SAMPLES"),
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
