"""CPU seconds an episode costs here and in LeRobot's own LIBERO environment, measured in one process.

``python -m wmvla.sim.libero.compare_stock`` prints the table; the same actions are played everywhere, and the run
fails when a state or a wanted image differs from the stock environment's.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from unittest import mock

import numpy as np
from robosuite.utils.binding_utils import MjSim

from wmvla.recipe import Environment
from wmvla.sim.libero.cameras import ALL, NONE
from wmvla.sim.libero.env import LiberoSimulation, Observation
from wmvla.sim.libero.stock import StockLibero

ENV_SEED = 1000
HISTORY_FRAMES = 7
"""Front frames that a policy with world memory reads up to each query, the query's own included."""

Want = Callable[[int], frozenset[str]]


@dataclass(frozen=True)
class Cost:
    """CPU seconds and images drawn, per episode."""

    name: str
    cpu_seconds: float
    renders: float


def wanted_at_queries(n_action_steps: int) -> Want:
    """E0: both cameras of the observations that the policy is asked about, nothing else."""
    return lambda t: ALL if t % n_action_steps == 0 else NONE


def wanted_with_history(n_action_steps: int) -> Want:
    """E2: also the front frames of the steps up to each query."""

    def want(t: int) -> frozenset[str]:
        if t % n_action_steps == 0:
            return ALL
        return frozenset({"image"}) if -t % n_action_steps < HISTORY_FRAMES else NONE

    return want


def compare(environment: Environment, task: int, inits: Sequence[int], steps: int, n_action_steps: int) -> list[Cost]:
    """Costs of the stock environment and of ours with the two patterns; an episode is a reset and ``steps`` steps."""
    actions = np.random.default_rng(0).uniform(-0.5, 0.5, size=(steps, 7))
    # Building the scene, and checking that a cheap reset is exact, happen once and belong to no episode: the first
    # reset is not counted. One environment at a time, because the stock one draws with whichever renderer is current.
    stock = StockLibero(environment, task)
    stock.reset(inits[0], ENV_SEED)

    def play_stock() -> list[Observation]:
        seen = []
        for init in inits:
            seen.append(stock.reset(init, ENV_SEED))
            seen += [stock.step(action)[0] for action in actions]
        return seen

    cpu, renders, expected = _measured(play_stock)
    costs = [Cost("stock LiberoEnv", cpu / len(inits), renders / len(inits))]
    stock.close()

    ours = LiberoSimulation(environment, task)
    ours.reset(inits[0], ENV_SEED, NONE)

    def play_ours(want: Want) -> list[Observation]:
        seen = []
        for init in inits:
            seen.append(ours.reset(init, ENV_SEED, want(0)))
            seen += [ours.step(action, want(t)).observation for t, action in enumerate(actions, start=1)]
        return seen

    patterns = {
        "ours, E0": wanted_at_queries(n_action_steps),
        "ours, E2": wanted_with_history(n_action_steps),
    }
    for name, want in patterns.items():
        cpu, renders, seen = _measured(partial(play_ours, want))
        _assert_same(seen, expected)
        costs.append(Cost(name, cpu / len(inits), renders / len(inits)))
    ours.close()
    return costs


def _measured(play: Callable[[], list[Observation]]) -> tuple[float, int, list[Observation]]:
    with mock.patch.object(MjSim, "render", autospec=True, side_effect=MjSim.render) as render:
        start = time.process_time()
        seen = play()
        return time.process_time() - start, render.call_count, seen


def _assert_same(ours: list[Observation], stock: list[Observation]) -> None:
    for our, their in zip(ours, stock, strict=True):
        assert np.array_equal(our.state, their.state), "a state differs from the stock environment's"
        for name, image in our.images.items():
            assert np.array_equal(image, their.images[name]), "an image differs from the stock environment's"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="libero_object")
    parser.add_argument("--task", type=int, default=7)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--episodes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--n-action-steps", type=int, default=8)
    options = parser.parse_args()
    environment = Environment(options.suite, (options.task,), options.image_size, options.steps)
    costs = compare(environment, options.task, range(options.episodes), options.steps, options.n_action_steps)
    print(
        f"{options.suite} task {options.task}, {options.image_size} px, episodes of {options.steps} steps, "
        f"n_action_steps {options.n_action_steps}, {options.episodes} episodes"
    )
    for cost in costs:
        ratio = costs[0].cpu_seconds / cost.cpu_seconds
        print(f"{cost.name:16} {cost.cpu_seconds:7.2f} CPU s {cost.renders:6.0f} images {ratio:5.1f}x")
    print("every state and every wanted image identical to the stock environment's")


if __name__ == "__main__":
    main()
