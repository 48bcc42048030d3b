"""Suite x scale x machine resolved to one frozen, hashed document, written before anything runs.

The hash names the run directory: the same command finds the same run and continues it, and no
setting can change between the plan and the verdict without changing the directory.
"""

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bench.plan.cases import Case
from bench.plan.looks import Sequential, one_look
from bench.plan.machine import Machine
from bench.plan.suite import Arm, ArmName, Claim, Control, Sanity
from wmvla.documents import did_you_mean
from wmvla.errors import UserError
from wmvla.ranges import Natural, Several
from wmvla.recipe import EpisodeRow, Recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PLAN_VERSION: Literal[2] = 2
PLAN_FILE = "plan.json"
NO_EPISODES = '"episodes":[]'


@dataclass(frozen=True)
class Method:
    """How the claims will be judged, fixed before the data (bench.judge.stats has the sources)."""

    id: Literal["fixed-1", "sequential-1"] = "fixed-1"
    """The rule: `bench.wording.methods` has its sentences. Another rule gets another number."""
    bootstrap_resamples: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    seeds: Literal["pooled", "resampled"] = "pooled"
    """Parts of one pool, or a level of their own, drawn before the clusters inside them."""


@dataclass(frozen=True)
class Plan:
    """What a run will do, fixed before anything runs."""

    version: Literal[2]
    suite: str
    question: str
    scale: str
    summary: str
    cannot_say: tuple[str, ...]
    concludes: bool
    requires_gpu: bool
    machine: Machine
    seeds: Several[Natural]
    alpha: Annotated[float, Meta(gt=0, lt=0.5)]
    method: Method
    sanity: Sanity
    claims: tuple[Claim, ...]
    arms: Annotated[dict[ArmName, Arm], Meta(min_length=1)]
    recipe: Recipe
    episodes: Several[EpisodeRow]
    cases: Several[Case]
    control: Control | None = None
    """Which control of the instrument this is, if any. It decides nothing in the run itself."""
    sequential: Sequential | None = None
    """Looks at the data on the way; None: all episodes are played, and then is judged."""

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON types, `hash` included: what plan.json holds."""
        return {"hash": self.hash, **self._content()}

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of all that can change a result; wording is free."""
        content = self._content(episodes=False)
        for cosmetic in ("question", "summary", "cannot_say", "control"):
            del content[cosmetic]
        for of_no_effect in ("default_scale", "rollout_workers"):
            del content["machine"][of_no_effect]
        for arm in content["arms"].values():
            del arm["title"]
        for claim in content["claims"]:
            del claim["says"]
        canonical = _canonical(content)
        assert canonical.count(NO_EPISODES) == 1
        canonical = canonical.replace(NO_EPISODES, f'"episodes":{self._canonical_episodes()}')
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def schedule(self) -> Sequential:
        """When it looks at its data; a plan of fixed size looks once, at all of it."""
        return self.sequential or one_look(self.recipe.rollout)

    @functools.cached_property
    def table(self) -> "dict[str, NDArray[Any]]":
        """The episode table as columns, by field of its rows; shape (rows,)."""
        import numpy as np  # whoever only plans does not wait for it

        return {
            field.name: np.fromiter(
                map(attrgetter(field.name), self.episodes),
                np.object_ if field.name == "suite" else np.int64,
                len(self.episodes),
            )
            for field in dataclasses.fields(EpisodeRow)
        }

    @functools.cached_property
    def initial_states(self) -> int:
        """How many (task, initial state) the episode table has."""
        init = self.table["init"]
        return len(set((self.table["task"] * (init.max(initial=0) + 1) + init).tolist()))

    @functools.cached_property
    def rows_by_look(self) -> tuple[tuple[EpisodeRow, ...], ...]:
        """The rows of the episode table that are played by each look; by the last, all of them."""
        order = {init: place for place, init in enumerate(self.recipe.rollout.inits)}
        early = [
            tuple(row for row in self.episodes if order[row.init] < states)
            for states in self.schedule.looks[:-1]
        ]
        return (*early, self.episodes)

    def rows_until(self, look: int) -> tuple[EpisodeRow, ...]:
        """The rows of the episode table that are played by that look; looks count from 1."""
        return self.rows_by_look[look - 1]

    def chosen_until(self, look: int) -> "NDArray[np.bool_]":
        """The same as an array of shape (rows,): whether a look plays each row; look 0 none."""
        import numpy as np

        inits = self.table["init"]
        if look == self.last_look:
            return np.ones(len(inits), dtype=np.bool_)
        states = self.schedule.looks[look - 1] if look else 0
        return np.isin(inits, self.recipe.rollout.inits[:states])

    @property
    def last_look(self) -> int:
        return len(self.rows_by_look)

    @property
    def fractions(self) -> tuple[float, ...]:
        """The share of the episodes that is played by each look."""
        return tuple(len(rows) / len(self.episodes) for rows in self.rows_by_look)

    def trains(self, case: Case) -> bool:
        """Whether the training processes carry the case out; a base may come from the hub."""
        return case.kind == "train" or (case.kind == "base" and self.recipe.base.source == "tiny")

    @property
    def run_name(self) -> str:
        return f"{self.suite}-{self.scale}-{self.machine.name}-{self.hash[:8]}"

    def case(self, case_id: str) -> Case:
        """The case called `case_id`; UserError names the nearest."""
        for case in self.cases:
            if case.id == case_id:
                return case
        raise UserError(
            f"unknown case '{case_id}'; {did_you_mean(case_id, [case.id for case in self.cases])}"
        )

    def rollout_cases(self, rollout: str | None = None) -> list[Case]:
        """The rollout cases, or those of one rollout (``E2-pred``): one for each training seed."""
        return [
            case
            for case in self.cases
            if case.kind == "rollout" and (rollout is None or case.rollout == rollout)
        ]

    def _canonical_episodes(self) -> str:
        """The episode table as `_canonical` writes it; msgspec does so in a tenth of the time,
        where it spells the names of the suites alike."""
        suites = {row.suite for row in self.episodes}
        if all(msgspec.json.encode(suite).decode() == json.dumps(suite) for suite in suites):
            return msgspec.json.encode(self.episodes, order="sorted").decode()
        return _canonical([vars(row) for row in self.episodes])

    def _content(self, episodes: bool = True) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(
            json.dumps(dataclasses.asdict(dataclasses.replace(self, episodes=())))
        )
        content["episodes"] = [
            dict(vars(row)) for row in self.episodes if episodes
        ]  # flat, and too many to be copied deeply
        content["recipe"]["base"] = self.recipe.base.to_dict()
        for name, arm in self.arms.items():
            content["arms"][name]["fields"] = arm.fields.given()
        return content


def _canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
