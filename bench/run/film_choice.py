"""Which episodes are worth a film: failures, and those that one side alone solved. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.judge.pairing import RowsByCase
from bench.plan.document import Plan
from wmvla.errors import UserError
from wmvla.rollout.journal import Row
from wmvla.rollout.tally import broken, succeeded


@dataclass(frozen=True)
class Films:
    """``single``: (case, index) of episodes alone; ``pairs``: (left case, right case, index) of two
    side by side; ``left_out``: how many more were asked for, beyond the limit."""

    single: tuple[tuple[str, int], ...]
    pairs: tuple[tuple[str, str, int], ...]
    left_out: int = 0

    def episodes(self) -> dict[str, list[int]]:
        """Every episode that is to be played for them, by case."""
        wanted = {
            *self.single,
            *((case, index) for left, right, index in self.pairs for case in (left, right)),
        }
        found: dict[str, list[int]] = {}
        for case, index in sorted(wanted):
            found.setdefault(case, []).append(index)
        return found


def choose(
    plan: Plan,
    rows_by_case: RowsByCase,
    failures: bool,
    discordant: bool,
    episodes: Sequence[int],
    limit: int,
) -> Films:
    """The films asked for, at most `limit` of each rollout and of each pair, in table order. A
    broken episode has nothing to show. UserError for one that no rollout has finished."""
    rows = {
        case: {row["index"]: row for row in found if not broken(row)}
        for case, found in rows_by_case.items()
    }
    for index in episodes:
        if not any(index in found for found in rows.values()):
            last = len(plan.episodes) - 1
            raise UserError(
                f"--episodes {index}: no rollout of {plan.run_name} has played it (its table has"
                f" 0-{last})"
            )

    def wanted(row: Row) -> bool:
        return row["index"] in episodes or (failures and not succeeded(row))

    alone = {
        case: sorted(index for index, row in found.items() if wanted(row))
        for case, found in rows.items()
    }
    pairs: dict[tuple[str, str], list[int]] = {}
    for claim in plan.claims if discordant else ():
        for seed in plan.seeds:
            left, right = f"{claim.left}-s{seed}", f"{claim.right}-s{seed}"
            both = rows.get(left, {}).keys() & rows.get(right, {}).keys()
            pairs[left, right] = sorted(
                index
                for index in both
                if succeeded(rows[left][index]) != succeeded(rows[right][index])
            )
    single = ((case, index) for case, indices in alone.items() for index in indices[:limit])
    paired = ((*pair, index) for pair, indices in pairs.items() for index in indices[:limit])
    left_out = sum(max(0, len(found) - limit) for found in (*alone.values(), *pairs.values()))
    return Films(tuple(single), tuple(paired), left_out)


def outcome(row: Row) -> str:
    """``solved after 112 steps``."""
    return f"{'solved' if succeeded(row) else 'not solved'} after {row['steps']} steps"


def parse_episodes(text: str | None) -> tuple[int, ...]:
    """``3,7`` as numbers. UserError for anything else."""
    try:
        return tuple(map(int, text.split(","))) if text is not None else ()
    except ValueError:
        raise UserError(
            f"--episodes {text}: not rows of the episode table; give numbers such as 3,7"
        ) from None
