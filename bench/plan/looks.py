"""When a sequential plan looks at its data: after how many initial states, with all repeats."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from wmvla.errors import UserError
from wmvla.ranges import Positive, Several, Share
from wmvla.recipe import Rollout

Spending = Literal["obrien-fleming", "pocock"]
"""How the error is spent over the looks: keys of ``bench.judge.stats.spending.SPENDING``."""
LOOKS = 5
"""At most. Five save most of what looks can save (Jennison and Turnbull 2000, section 2.8)."""


@dataclass(frozen=True)
class Sequential:
    """How a plan may stop before all episodes are played."""

    looks: Several[Positive]
    """Initial states of each task; the last look is at all of them. Non-obvious: states, so that
    repeats of one, which tend to end alike, are never torn apart."""
    spending: Spending
    futility: Share = 0.1
    """A claim ends where its chances to be shown, and to be excluded, are both less."""


def one_look(rollout: Rollout) -> Sequential:
    """What a plan of fixed size does: it looks once, when all is played, and never gives up."""
    return Sequential((_states(rollout),), "obrien-fleming", futility=0.0)


def spread_looks(rollout: Rollout, spending: str, where: str) -> Sequential:
    """Looks spread evenly. UserError for an unknown spending function, and for a single state."""
    known: dict[str, Spending] = {name: name for name in get_args(Spending)}
    if spending not in known:
        raise UserError(f"SEQUENTIAL={spending}: must be one of {', '.join(known)}")
    states = _states(rollout)
    if states < 2:
        raise UserError(
            f"SEQUENTIAL={spending}: {where} plays one initial state of each task; looks need at"
            " least two"
        )
    looks = sorted({math.ceil(states * look / LOOKS) for look in range(1, LOOKS + 1)})
    return Sequential(tuple(looks), known[spending])


def _states(rollout: Rollout) -> int:
    """Initial states that are played of each task."""
    return min(rollout.episodes, len(rollout.inits))
