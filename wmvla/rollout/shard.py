"""Shards: an episode table split over machines or processes, every row in exactly one part."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from wmvla.errors import UserError
from wmvla.recipe import EpisodeRow

TEXT = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)
RANKS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"))
"""A process's number among how many: torchrun's variables, then those of Slurm's srun. A batch
script without srun is one process, though it has ``SLURM_PROCID`` and, of the whole job,
``SLURM_NTASKS``."""


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``of``, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard(text: str) -> Shard:
    """The shard called ``2/4``. UserError for anything else."""
    found = TEXT.fullmatch(text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(
            f"SHARD={text}: give the part and the number of parts, from 1/4 to 4/4 for four"
        )
    return Shard(int(found[1]), int(found[2]))


def shard_from_environment() -> Shard | None:
    """The shard of this rank of torchrun or Slurm; None if there is no other rank. UserError if the
    rank's variables are no rank."""
    for rank_name, size_name in RANKS:
        rank, size = os.environ.get(rank_name), os.environ.get(size_name)
        if rank is None or size is None:
            continue
        if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
            raise UserError(
                f"{rank_name}={rank}, {size_name}={size}: not a rank; unset them or give --shard"
            )
        return Shard(int(rank) + 1, int(size)) if int(size) > 1 else None
    return None


def rows_of(shard: Shard | None, rows: Sequence[EpisodeRow]) -> list[EpisodeRow]:
    """The shard's rows, in table order; all of them without a shard.

    Rows are dealt like cards, each task's rows sorted by initial state and repeat: so the shards of
    a table differ by at most one row, in each task too, and the repeats of one initial state lie in
    different shards where they can.

    Non-obvious: ``rows`` must be the whole table, not what is left of it: who plays a row must not
    depend on what is done.
    """
    if shard is None:
        return list(rows)
    in_turn = sorted(rows, key=lambda row: (row.suite, row.task, row.init, row.repeat, row.index))
    mine = {row.index for row in in_turn[shard.number - 1 :: shard.of]}
    return [row for row in rows if row.index in mine]
