"""Suite x scale x machine resolved to one frozen, hashed document, written before anything runs.

The hash names the run directory: the same command finds the same run and continues it, and no setting can
change between the plan and the verdict without changing the directory.
"""

import dataclasses
import functools
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.cases import Case, make_cases
from bench.consistency import contradiction
from bench.episode_table import make_episode_table
from bench.looks import Sequential, spread_looks
from bench.machine import Machine, detect_machine, load_machine
from bench.overrides import Overrides
from bench.strict_json import NotStrictError, parse
from bench.suite import SUITES, Arm, Claim, Control, Sanity, Suite, load_suite
from bench.toml_config import build, did_you_mean
from wmvla.errors import UserError
from wmvla.files import write_json
from wmvla.recipe import EpisodeRow, Recipe, Training

PLAN_VERSION = 1
PLAN_FILE = "plan.json"
HASHED_WORKERS = {"cpu": 2, "cuda": 8, "rocm": 16}
"""What a plan's hash says for ``rollout_workers``, whatever their number is: that of the first plans, which so keep theirs."""


@dataclass(frozen=True)
class Method:
    """How the claims will be judged, fixed before the data (bench.stats has the sources)."""

    rate_interval: str = "Wilson"
    difference_interval: str = "hull of Tango's score interval and a bootstrap over (seed, task, init)"
    equivalence_test: str = "two one-sided tests: the interval at 1 - 2 alpha lies inside the margin"
    superiority_test: str = "exact McNemar, one-sided, flipping (seed, task, init) as a whole"
    multiplicity: str = "Holm over the superiority claims that are asked"
    bootstrap_resamples: int = 10_000
    seeds: Literal["pooled", "resampled"] = "pooled"
    """What several training seeds are: parts of one pool, or a level of their own, drawn before the clusters inside them."""


SEVERAL_SEEDS = Method(
    difference_interval="hull of Tango's score interval and a bootstrap over seeds, then over (task, init) inside each",
    superiority_test="exact McNemar, one-sided, flipping (seed, task, init) as a whole; and the interval at 1 - alpha above 0",
    seeds="resampled",
)
"""How the claims will be judged where there is more than one training seed."""


@dataclass(frozen=True)
class Plan:
    version: int
    suite: str
    question: str
    scale: str
    summary: str
    cannot_say: tuple[str, ...]
    concludes: bool
    requires_gpu: bool
    machine: Machine
    seeds: tuple[int, ...]
    alpha: float
    method: Method
    sanity: Sanity
    claims: tuple[Claim, ...]
    arms: dict[str, Arm]
    recipe: Recipe
    episodes: tuple[EpisodeRow, ...]
    cases: tuple[Case, ...]
    control: Control | None = None
    """Which control of the instrument this is; None of an experiment. It decides nothing in the run itself."""
    sequential: Sequential | None = None
    """Looks at the data on the way; None: all episodes are played, and then is judged."""

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON types, `hash` included: what plan.json holds."""
        return {"hash": self.hash, **self._content()}

    @classmethod
    def from_json(cls, data: dict[str, Any], file: str = PLAN_FILE) -> "Plan":
        """The plan in a document made by `to_json`. UserError where its hash is not its content's, or it contradicts itself."""
        if not isinstance(data, dict) or "hash" not in data:
            raise UserError(f"{file}: missing key 'hash'")
        if data.get("version") != PLAN_VERSION:
            raise UserError(f"{file}: 'version' is {data.get('version')!r}, this program reads {PLAN_VERSION}")
        plan = build(cls, {key: value for key, value in data.items() if key != "hash"}, file)
        if plan.hash != data["hash"]:
            raise UserError(f"{file}: its content does not match its 'hash'; it was changed after it was written")
        if wrong := contradiction(plan):
            raise UserError(f"{file}: {wrong}; it was changed after it was written")
        return plan

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of all that can change a result; wording may change freely."""
        content = self._content()
        for cosmetic in ("question", "summary", "cannot_say", "control"):
            del content[cosmetic]
        del content["machine"]["default_scale"]
        content["machine"]["rollout_workers"] = HASHED_WORKERS[self.machine.accelerator]
        for arm in content["arms"].values():
            del arm["title"]
        for claim in content["claims"]:
            del claim["says"]
        _drop_later_defaults(content)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @functools.cached_property
    def rows_by_look(self) -> tuple[tuple[EpisodeRow, ...], ...]:
        """The rows of the episode table that are played by each look; a plan of fixed size has one, at all of them."""
        if self.sequential is None:
            return (self.episodes,)
        order = {init: place for place, init in enumerate(self.recipe.rollout.inits)}
        return tuple(tuple(row for row in self.episodes if order[row.init] < look) for look in self.sequential.looks)

    @property
    def run_name(self) -> str:
        return f"{self.suite}-{self.scale}-{self.machine.name}-{self.hash[:8]}"

    def case(self, case_id: str) -> Case:
        """The case called `case_id`; UserError names the nearest."""
        for case in self.cases:
            if case.id == case_id:
                return case
        raise UserError(f"unknown case '{case_id}'; {did_you_mean(case_id, [case.id for case in self.cases])}")

    def rollout_cases(self, rollout: str | None = None) -> list[Case]:
        """The rollout cases, or those of one rollout (``E2-pred``): one for each training seed."""
        return [case for case in self.cases if case.kind == "rollout" and (rollout is None or case.rollout == rollout)]

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(dataclasses.replace(self, episodes=()))))
        content["episodes"] = [dict(vars(row)) for row in self.episodes]  # flat, and too many to be copied deeply
        for name, arm in self.arms.items():
            content["arms"][name]["fields"] = arm.fields.given()
        return content


def resolve_plan(suite: str, scale: str | None = None, machine: str | None = None, overrides: Overrides | None = None) -> Plan:
    """The plan for a suite by name. None: the machine found here, and that machine's default scale."""
    return make_plan(
        load_suite(suite, SUITES), scale, load_machine(detect_machine() if machine is None else machine), overrides
    )


def make_plan(suite: Suite, scale: str | None, machine: Machine, overrides: Overrides | None = None) -> Plan:
    """Pure. UserError for an unknown scale or arm, and for impossible numbers."""
    overrides = overrides or Overrides()
    scale = _default_scale(suite, machine) if scale is None else scale
    if scale not in suite.scales:
        raise UserError(f"unknown scale '{scale}' of suite '{suite.name}'; {did_you_mean(scale, suite.scales)}")
    chosen = suite.scales[scale]
    arms = _chosen_arms(suite, overrides.arms)
    recipe = _override_recipe(chosen.recipe, overrides)
    if recipe.base.source == "tiny":  # trained here, vision tower and all, so that there is nothing to cache
        machine = dataclasses.replace(machine, cache_vision=False)
    _check_recipe(recipe, machine, f"suite '{suite.name}', scale '{scale}'")
    seeds = overrides.seeds or suite.seeds
    sequential = None
    if overrides.sequential is not None:
        sequential = spread_looks(recipe.rollout, overrides.sequential, f"suite '{suite.name}', scale '{scale}'")
    return Plan(
        version=PLAN_VERSION,
        suite=suite.name,
        question=suite.question,
        scale=scale,
        summary=chosen.summary,
        cannot_say=chosen.cannot_say,
        concludes=chosen.concludes,
        requires_gpu=chosen.requires_gpu,
        machine=machine,
        seeds=seeds,
        alpha=suite.alpha,
        method=_method(several_seeds=len(seeds) > 1, sequential=sequential is not None),
        sanity=suite.sanity,
        claims=tuple(
            dataclasses.replace(claim, asked=all(_arm_of(name) in arms for name in (claim.left, claim.right)))
            for claim in suite.claims
        ),
        arms=arms,
        recipe=recipe,
        episodes=make_episode_table(recipe),
        cases=make_cases(arms, seeds, bool(recipe.demonstrations.held_out)),
        control=suite.control,
        sequential=sequential,
    )


def write_plan(plan: Plan, run_dir: Path) -> Path:
    """Write plan.json atomically; leave an equal plan as it is. UserError where another plan lies there."""
    path = run_dir / PLAN_FILE
    if path.exists():
        found = load_plan(run_dir)
        if found.hash != plan.hash:
            raise UserError(
                f"{path}: run directory of another plan ({found.run_name}, wanted {plan.run_name}); choose another directory"
            )
        return path
    try:
        write_json(path, plan.to_json())
    except OSError as error:
        raise UserError(f"{path}: cannot write the plan: {error.strerror}") from None
    return path


def load_plan(run_dir: Path) -> Plan:
    """The plan of a run directory. UserError where there is none, or where it was changed."""
    path = Path(run_dir) / PLAN_FILE
    try:
        data = parse(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{run_dir}: not a run directory (it has no {PLAN_FILE})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except NotStrictError as error:
        raise UserError(f"{path}: {error}") from None
    return Plan.from_json(data, str(path))


def _drop_later_defaults(content: dict[str, Any]) -> None:
    """Take out of a plan's content what plans did not say at first, where it says what was meant then.

    So plans that were written before keep their hash, and with it their run directory.
    """
    for arm in content["arms"].values():
        if not arm["fields"]:
            del arm["fields"]
    for claim in content["claims"]:
        if claim["effect"] is None:
            del claim["effect"]
    if content["sequential"] is None:
        del content["sequential"]
    if content["method"]["seeds"] == "pooled":
        del content["method"]["seeds"]
    machine = content["machine"]
    if machine["strategy"] == "ddp":
        del machine["strategy"]
    if machine["accumulation_steps"] == 1:
        del machine["accumulation_steps"]
    if machine["nodes"] == 1:
        del machine["nodes"]
    if not machine["cache_vision"]:
        del machine["cache_vision"]
    recipe = content["recipe"]
    if recipe["world"]["camera"] == "front":
        del recipe["world"]["camera"]
    if recipe["world"]["attention_heads"] == 8:
        del recipe["world"]["attention_heads"]
    if not recipe["demonstrations"]["held_out"]:
        del recipe["demonstrations"]["held_out"]


def _method(several_seeds: bool, sequential: bool) -> Method:
    method = SEVERAL_SEEDS if several_seeds else Method()
    if not sequential:
        return method
    return dataclasses.replace(
        method,
        difference_interval=f"at every look at the confidence of its boundary: {method.difference_interval}",
        equivalence_test="two one-sided tests: the repeated interval at 1 - 2 alpha lies inside the margin",
        superiority_test=f"at every look, error spent over the looks (Lan-DeMets): {method.superiority_test}",
        multiplicity="Holm over the superiority claims that are asked, each step with boundaries of its own",
    )


def _default_scale(suite: Suite, machine: Machine) -> str:
    """The machine's; of a suite that stops short of it, as the controls do, the largest scale that it has."""
    return machine.default_scale if machine.default_scale in suite.scales else list(suite.scales)[-1]


def _arm_of(rollout: str) -> str:
    return rollout.rsplit("-", 1)[0]


def _chosen_arms(suite: Suite, wanted: tuple[str, ...] | None) -> dict[str, Arm]:
    for name in wanted or ():
        if name not in suite.arms:
            raise UserError(f"unknown arm '{name}' of suite '{suite.name}'; {did_you_mean(name, suite.arms)}")
    return {name: arm for name, arm in suite.arms.items() if wanted is None or name in wanted}


def _override_recipe(recipe: Recipe, overrides: Overrides) -> Recipe:
    rollout = recipe.rollout
    if overrides.episodes is not None:
        rollout = dataclasses.replace(rollout, episodes=overrides.episodes)
    return dataclasses.replace(recipe, training=_override_training(recipe.training, overrides), rollout=rollout)


def _override_training(training: Training, overrides: Overrides) -> Training:
    """The scale's training with the given steps, batch and sample budget.

    Non-obvious: a batch size given alone keeps the scale's sample budget (steps x batch), because arms and
    machines are compared at equal samples. Steps given alone change the budget.
    """
    batch = overrides.batch_size or training.batch_size
    steps = overrides.steps
    if overrides.total_samples is not None or steps is None:
        samples = overrides.total_samples or training.steps * training.batch_size
        needed = math.ceil(samples / batch)
        if steps is not None and steps != needed:
            raise UserError(
                f"STEPS={steps} and TOTAL_SAMPLES={samples} disagree: {samples} samples at batch {batch} "
                f"are {needed} steps; give one of the two"
            )
        steps = needed
    return dataclasses.replace(training, steps=steps, batch_size=batch)


def _check_recipe(recipe: Recipe, machine: Machine, where: str) -> None:
    rollout, tasks = recipe.rollout, recipe.environment.tasks
    if rollout.episodes < 1:
        raise UserError(f"{where}: 'rollout.episodes' must be at least 1, not {rollout.episodes}")
    demonstrations = recipe.demonstrations
    if demonstrations.held_out and demonstrations.source != "expert":
        raise UserError(f"{where}: 'demonstrations.held_out' needs source 'expert'; a {demonstrations.source} dataset has none")
    seen_twice = sorted(set(demonstrations.held_out) & set(demonstrations.inits))
    if seen_twice:
        raise UserError(f"{where}: 'demonstrations.held_out' names {seen_twice[0]}, which 'demonstrations.inits' trains on")
    for key, values in (("rollout.inits", rollout.inits), ("environment.tasks", tasks)):
        if not values or len(set(values)) < len(values):
            raise UserError(f"{where}: '{key}' must name at least one, none of them twice; it is {list(values)}")
    if machine.cache_vision and recipe.training.image_shift:
        raise UserError(
            f"{where}: 'training.image_shift' is {recipe.training.image_shift}, so that images differ from step to step and "
            f"their features cannot be cached; set 'cache_vision = false' for machine '{machine.name}'"
        )
    if recipe.training.steps < 1 or recipe.training.batch_size < 1:
        raise UserError(f"{where}: 'training.steps' and 'training.batch_size' must be at least 1")
    if recipe.training.batch_size % (machine.training_processes * machine.accumulation_steps):
        parts = f" in {machine.accumulation_steps} parts each" if machine.accumulation_steps > 1 else ""
        raise UserError(
            f"{where}: batch size {recipe.training.batch_size} cannot be split evenly over the "
            f"{machine.training_processes} training processes of machine '{machine.name}'{parts}"
        )
