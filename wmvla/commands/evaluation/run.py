"""An evaluation played by the rollout engine: episodes, films and summary in one directory."""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import torch
from lerobot.envs.configs import LiberoEnv
from tqdm import tqdm

from wmvla.commands.evaluation.flags import FAILURES, EvalConfig
from wmvla.commands.evaluation.policy import load_rollout_policy, to_policy_names, world_cameras
from wmvla.commands.evaluation.settings import keep_settings, settings_of
from wmvla.commands.evaluation.table import episode_table, suites_of
from wmvla.errors import UserError
from wmvla.files import write_json
from wmvla.policy.weights import checkpoint_folder
from wmvla.recipe import EpisodeRow
from wmvla.resources import worker_count
from wmvla.rollout.any_policy import AnyPolicy
from wmvla.rollout.engine import roll_out
from wmvla.rollout.episode import EpisodeRecord
from wmvla.rollout.film import write_film
from wmvla.rollout.journal import Journal, Row, read_all, shard_journal_path
from wmvla.rollout.lock import lock
from wmvla.rollout.policy import RolloutPolicy
from wmvla.rollout.shard import Shard, rows_of
from wmvla.rollout.summary import Info, lerobots_summary
from wmvla.rollout.tally import succeeded, tally
from wmvla.rollout.worker import Simulators
from wmvla.sim.suites import can_be_forked, make_simulation, simulator_bytes

EPISODES, INFO, VIDEOS, LOGS = "episodes.jsonl", "eval_info.json", "videos", "logs"
RETOLD = ("success", "steps", "scene_hash")
"""What an episode that is played once more, for its film, must have in common with its record."""
EVERY = 0.5, 30.0
"""Seconds between two states of the progress bar: on a terminal, in a file."""


def play_evaluation(config: EvalConfig, shard: Shard | None) -> Info:
    """Play the episodes that ``config.output_dir`` lacks, of the whole table or of ``shard``; the
    table's summary, which without a shard is written to ``eval_info.json`` too.

    UserError: settings, checkpoint or directory that do not fit; no simulator can play.
    """
    evaluation = Evaluation(config, shard)
    directory = evaluation.directory
    settings = settings_of(config, evaluation.checkpoint)
    evaluation.load_what_plays()  # which adds to the policy's configuration
    with lock(directory, shard):
        recorded = read_all(directory / EPISODES)
        keep_settings(directory, settings, may_replace=shard is None and not recorded)
        evaluation.play()
        info = evaluation.summary()
        if shard is None:
            write_json(directory / INFO, info)
    return info


class Evaluation:
    """The table of an evaluation, what is recorded of it, and the part that is played here."""

    def __init__(self, config: EvalConfig, shard: Shard | None) -> None:
        assert isinstance(config.env, LiberoEnv)
        assert config.policy is not None
        assert config.output_dir is not None
        self.config, self.env, self.shard = config, config.env, shard
        self.directory = Path(config.output_dir)
        self.checkpoint = checkpoint_folder(str(config.policy.pretrained_path))
        self.suites = suites_of(config.env)
        self.table = episode_table(self.suites, config.eval.n_episodes, config.seed)
        self.rows = rows_of(shard, self.table)
        self.journal = Journal(shard_journal_path(self.directory / EPISODES, shard))
        self.recorded = self._read()
        self.began, self.played = time.monotonic(), 0

    def load_what_plays(self) -> None:
        """Load the policy where an episode is left to be played: a checkpoint that is refused
        leaves nothing behind."""
        if any(row.index not in self.recorded for row in self.rows):
            assert self.policy

    def play(self) -> None:
        """Play what is not recorded, and film what is to be filmed and has no film."""
        self.recorded = self._read()  # anew: others may have played meanwhile
        unfilmed = [row for row in self.rows if not self._video(row).exists()]
        first = [row for row in unfilmed if self._episode(row) < self.config.filmed_episodes]
        again = [row for row in first if self._played(row)]
        self._roll_out([row for row in first if row.index not in self.recorded], film=True)
        self._roll_out([row for row in self.rows if row.index not in self.recorded], film=False)
        if self.config.videos == FAILURES:
            played = [row for row in unfilmed if self._played(row)]
            again = [row for row in played if not succeeded(self.recorded[row.index])]
        self._roll_out(again, film=True)

    def summary(self) -> Info:
        """In LeRobot's shape, of all recorded episodes of the table, by whichever process."""
        self.recorded = self._read()
        seconds = time.monotonic() - self.began
        return lerobots_summary(self.table, self.recorded, seconds, self.played, self._video)

    def _read(self) -> dict[int, Row]:
        """Every recorded episode of the table by its index, other shards' too."""
        recorded = {row["index"]: row for row in read_all(self.directory / EPISODES)}
        for row in self.table:
            line = recorded.get(row.index, asdict(row))
            if any(line[key] != value for key, value in asdict(row).items()):
                raise UserError(
                    f"{self.directory / EPISODES}: episode {row.index} belongs to another "
                    "evaluation: give another --output_dir."
                )
        return recorded

    def _roll_out(self, rows: Sequence[EpisodeRow], film: bool) -> None:
        """Play ``rows``, suite by suite: all recorded already, for their film only, or none."""
        if not rows:
            return
        policy, names = self.policy, to_policy_names(self.env, self.config.rename_map)
        on_gpu = torch.device(policy.config.device).type != "cpu"
        again = rows[0].index in self.recorded
        done = 0 if again else sum(row.index in self.recorded for row in self.rows)
        total, what = (len(rows), "filming") if again else (len(self.rows), "playing")
        with (
            self._bar(total, done, what) as bar,
            torch.autocast(torch.device(policy.config.device).type, enabled=policy.config.use_amp),
        ):

            def on_episode(row: EpisodeRow, record: EpisodeRecord) -> None:
                if again:
                    self._compare(row, record)
                else:
                    line = cast(Row, {**asdict(row), "case": policy.config.type, **asdict(record)})
                    self.journal.append(line)
                    self.recorded[row.index] = line
                    self.played += 1
                bar.set_postfix_str(self._success_so_far(), refresh=False)
                bar.update()

            def on_film(row: EpisodeRow, frames: np.ndarray) -> None:
                write_film(self._video(row), frames)

            for suite in self.suites:
                name = suite.environment.suite
                mine = [row for row in rows if row.suite == name]
                workers = self.config.workers or worker_count(
                    len(mine), on_gpu, simulator_bytes(suite.environment)
                )
                cameras, logs = world_cameras(policy, names), self._logs(name)
                simulators = Simulators(
                    suite.environment,
                    policy.world_frames,
                    cameras,
                    make_simulation,
                    film,
                    logs,
                    can_be_forked(),
                )
                workers = min(workers, max(1, len(mine)))
                roll_out(mine, policy, simulators, workers, on_episode, on_film=on_film)

    @cached_property
    def policy(self) -> RolloutPolicy | AnyPolicy:
        """Loaded when the first episode is to be played: a finished evaluation needs none."""
        return load_rollout_policy(self.config, self.checkpoint)

    def _episode(self, row: EpisodeRow) -> int:
        """The row's number among its task's episodes."""
        assert self.config.seed is not None
        return row.env_seed - self.config.seed

    def _video(self, row: EpisodeRow) -> Path:
        """Where LeRobot would put the film of this episode."""
        name = f"eval_episode_{self._episode(row)}.mp4"
        return self.directory / VIDEOS / f"{row.suite}_{row.task}" / name

    def _logs(self, suite: str) -> Path:
        """Where the simulators of a suite print to (``Simulators.logs``)."""
        shard = "" if self.shard is None else f".{self.shard.number}-of-{self.shard.of}"
        return self.directory / LOGS / f"{suite}{shard}"

    def _bar(self, total: int, done: int, what: str) -> tqdm:
        every = EVERY[0] if sys.stderr.isatty() else EVERY[1]
        return tqdm(
            total=total,
            initial=done,
            desc=what,
            unit="episode",
            file=sys.stderr,
            mininterval=every,
            dynamic_ncols=True,
        )

    def _played(self, row: EpisodeRow) -> bool:
        """Whether it is recorded as played to its end."""
        return row.index in self.recorded and self.recorded[row.index]["status"] == "ok"

    def _success_so_far(self) -> str:
        won = tally([self.recorded[row.index] for row in self.rows if self._played(row)])
        rate = 100 * (won.rate or 0.0)
        return f"{won.successes}/{won.episodes} = {rate:.1f}% succeeded"

    def _compare(self, row: EpisodeRow, record: EpisodeRecord) -> None:
        """Report if the filmed episode is not the recorded one."""
        before, now = self.recorded[row.index], asdict(record)
        if any(before[key] != now[key] for key in RETOLD):
            ended = f"{'success' if record.success else 'no success'} after {record.steps} steps"
            line = f"does not show the recorded episode: {record.status}, {ended}."
            tqdm.write(f"{self._video(row)} {line}", file=sys.stderr)
