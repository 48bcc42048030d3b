"""LeRobot's own loop against the engine: the same checkpoints and episodes, in turn, in one run.

The checkpoints are suite core's (at ``--scale``), trained where they are not there yet. LeRobot's
side is ``lerobot.scripts.lerobot_eval.rollout`` with its own environment and processors, one
episode after the other in one process; only the initial state, the seed and the policy's noise are
set to the row's, which its command line cannot do. The engine plays the same rows with the
machine's simulators. CPU seconds are those of the episodes, reset to end, policy included; what is
made once (scenes, models, processes) is counted apart.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from bench.commands.options import plan_from, run_dir_of
from bench.plan.document import Plan
from bench.plan.files import write_plan
from bench.run.executor import Executor
from wmvla.recipe import EpisodeRow
from wmvla.resources import worker_count
from wmvla.rollout.engine import roll_out
from wmvla.rollout.episode import EpisodeRecord
from wmvla.rollout.lock import lock
from wmvla.rollout.policy import RolloutPolicy
from wmvla.rollout.worker import Simulators
from wmvla.sim.suites import can_be_forked, make_simulation, simulator_bytes
from wmvla.streams import generator

EPISODES = 6
N_ACTION_STEPS = 10
TURNS = 2
MOST_OF_STOCK = {"E0": 1 / 6, "E2": 1 / 2.5}
"""Issue 4: CPU seconds an episode, as a part of LeRobot's own."""
MODES = {"E0": "none", "E2": "pred"}

Outcome = tuple[int, bool, int]


@dataclass
class Side:
    """What one way of playing cost, starts apart; outcomes: row, success, steps."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    start_seconds: float = 0.0
    renders: int = 0
    outcomes: list[Outcome] = field(default_factory=list)


@pytest.fixture(scope="module")
def trained(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Suite core's run directory, held."""
    plan = plan_from("core", request.config.option)
    run_dir = run_dir_of(plan, request.config.option)
    with lock(run_dir):
        write_plan(plan, run_dir)
        capture = request.config.pluginmanager.getplugin("capturemanager")

        def show(line: str) -> None:
            with capture.global_and_fixture_disabled():
                print(line, flush=True)

        yield Executor(plan, run_dir, show)


def checkpoint_of(executor: Executor, arm: str) -> Path:
    case = next(
        case for case in executor.context.plan.cases if case.kind == "train" and case.arm == arm
    )
    return executor.context.absolute(executor.ensure(case.id)["artefacts"])["checkpoint"]


class SameNoise(torch.nn.Module):
    """A policy for LeRobot's loop whose noise is that of an episode's row, query by query."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def begin(self, row: EpisodeRow) -> None:
        self.row, self.queries = row, 0

    def reset(self) -> None:
        self.policy.reset()

    def select_action(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        noise = None
        if self.policy._check_get_actions_condition():
            shape = (1, self.policy.config.chunk_size, self.policy.config.max_action_dim)
            noise = torch.randn(
                shape, generator=generator("noise", self.row.noise_seed, self.queries)
            )
            self.queries += 1
        return self.policy.select_action(batch, noise=noise)


class Stock:
    """LeRobot's loop with one environment, made once and kept."""

    def __init__(self, plan: Plan, rollout_policy: RolloutPolicy) -> None:
        from lerobot.envs.configs import LiberoEnv
        from lerobot.envs.factory import make_env, make_env_pre_post_processors

        from wmvla.sim.libero.assets import prepare_libero

        prepare_libero()
        began = time.monotonic()
        environment = plan.recipe.environment
        size, tasks = environment.image_size, list(environment.tasks)
        config = LiberoEnv(
            task=environment.suite, task_ids=tasks, observation_height=size, observation_width=size
        )
        config.episode_length = environment.max_steps
        self.envs = make_env(config, n_envs=1)[environment.suite]
        self.environment_processors = make_env_pre_post_processors(config, rollout_policy.config)
        self.processors = (rollout_policy.preprocessor, rollout_policy.postprocessor)
        rollout_policy.policy.config.n_action_steps = rollout_policy.n_action_steps
        self.policy = SameNoise(rollout_policy.policy)
        for task in tasks:
            self.envs[task].reset()
        self.start_seconds = time.monotonic() - began

    def play(self, rows: list[EpisodeRow], side: Side) -> None:
        from lerobot.scripts.lerobot_eval import rollout
        from robosuite.utils.binding_utils import MjSim

        quiet = mock.patch(
            "lerobot.scripts.lerobot_eval.inside_slurm", return_value=True
        )  # no progress bar a step
        with (
            quiet,
            mock.patch.object(MjSim, "render", autospec=True, side_effect=MjSim.render) as render,
        ):
            for row in rows:
                env = self.envs[row.task]
                env.envs[0].unwrapped.init_state_id = row.init
                self.policy.begin(row)
                began, cpu = time.monotonic(), time.process_time()
                played = rollout(
                    env,
                    self.policy,
                    *self.environment_processors,
                    *self.processors,
                    seeds=[row.env_seed],
                )
                side.seconds += time.monotonic() - began
                side.cpu_seconds += time.process_time() - cpu
                success = played["success"][0].bool()
                steps = int(success.int().argmax()) + 1 if success.any() else len(success)
                side.outcomes.append((row.index, bool(success.any()), steps))
            side.renders += render.call_count

    def close(self) -> None:
        for env in self.envs.values():
            env.close()


def play_with_the_engine(
    plan: Plan, policy: RolloutPolicy, rows: list[EpisodeRow], side: Side
) -> None:
    """Seconds from when every simulator has its scene to the end of the last episode."""
    environment = plan.recipe.environment
    simulators = Simulators(
        environment,
        policy.world_frames,
        policy.world_cameras,
        make_simulation,
        built_once=can_be_forked(),
    )
    workers = plan.machine.rollout_workers or worker_count(
        len(rows), False, simulator_bytes(environment)
    )
    records: list[tuple[EpisodeRow, EpisodeRecord, float]] = []
    began = time.monotonic()
    roll_out(
        rows,
        policy,
        simulators,
        workers,
        lambda row, record: records.append((row, record, time.monotonic())),
    )
    first = min(ended - record.seconds for _, record, ended in records)
    side.start_seconds += first - began
    side.seconds += max(ended for *_, ended in records) - first
    for row, record, _ in records:
        assert record.status == "ok", record.error
        side.cpu_seconds += record.cpu_seconds
        side.renders += record.renders
        side.outcomes.append((row.index, record.success, record.steps))


@pytest.mark.parametrize("arm", list(MODES))
def test_the_engine_against_lerobots_own_loop(
    benchmark: Any, trained: Executor, measured: Callable[..., None], arm: str
) -> None:
    """The benchmark's time is the engine's; ``extra_info`` has both. Bounds: long episodes."""
    plan = trained.context.plan
    chunk = min(N_ACTION_STEPS, plan.recipe.base.chunk_size)
    checkpoint = checkpoint_of(trained, arm)
    policies = [RolloutPolicy(checkpoint, MODES[arm], chunk, "cpu") for _ in range(2)]
    stock, sides = Stock(plan, policies[0]), {"LeRobot": Side(), "engine": Side()}
    sides["LeRobot"].start_seconds = stock.start_seconds
    rows = list(plan.episodes[:EPISODES])
    for policy in policies:
        warm_up(policy, plan)

    def both() -> None:
        for turn in range(TURNS):
            stock.play(rows[turn::TURNS], sides["LeRobot"])
            play_with_the_engine(plan, policies[1], rows[turn::TURNS], sides["engine"])

    benchmark.pedantic(both, rounds=1)
    stock.close()
    outcomes = {name: sorted(side.outcomes) for name, side in sides.items()}
    costs = {name: side.cpu_seconds / len(rows) for name, side in sides.items()}
    part = costs["engine"] / costs["LeRobot"]
    with_ = f"{arm}, {len(rows)} episodes, n_action_steps {chunk}, {torch.get_num_threads()} thread"
    print(f"\n  {with_}: {sum(success for _, success, _ in outcomes['engine'])} solved")
    for name, side in sides.items():
        rate = 60 * len(rows) / side.seconds
        benchmark.extra_info[name] = {
            "seconds": round(side.seconds, 2),
            "cpu_seconds_per_episode": round(costs[name], 3),
            "renders_per_episode": side.renders / len(rows),
            "episodes_per_minute": round(rate, 2),
            "start_seconds": round(side.start_seconds, 2),
        }
        print(
            f"  {name:8} {costs[name]:7.2f} CPU s, {side.renders / len(rows):6.1f} renders an"
            f" episode, {rate:6.2f} episodes a minute, {side.start_seconds:5.1f} s to start"
        )
    print(f"  the engine takes 1/{1 / part:.2f} of LeRobot's CPU time")
    benchmark.extra_info.update(part=round(part, 4), arm=arm, episodes=len(rows))
    assert outcomes["engine"] == outcomes["LeRobot"], "success and length of every episode"
    if plan.recipe.environment.max_steps >= 100:
        assert part <= MOST_OF_STOCK[arm]
    measured(
        f"rollout_{arm}_{plan.scale}", 60 * len(rows) / sides["engine"].seconds, "episodes/min"
    )


def warm_up(policy: RolloutPolicy, plan: Plan) -> None:
    """The first pass through a model is slow, and belongs to no episode."""
    size = plan.recipe.environment.image_size
    batch = {
        f"observation.images.{name}": torch.zeros(1, 3, size, size) for name in ("image", "image2")
    }
    state = torch.tensor([[-0.15, 0.0, 0.25, 3.14, 0.0, -0.09, 0.04, -0.04]])  # LIBERO's first ones
    batch = policy.preprocessor({**batch, "observation.state": state, "task": ["wait"]})
    history = {}
    if policy.latents is not None:
        config = policy.config
        history["history"] = torch.zeros(1, config.context_frames, config.world_latent_dim)
    policy.policy.predict_action_chunk(batch, **history)
