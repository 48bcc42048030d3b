"""What a case would cost if no run shows it: by counts of operations, and a simulator's parts.
Nothing of it was measured there. The assumptions are the constants below (`assumptions`)."""

import math
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Literal

from bench.forecast.flops import (
    CAMERAS,
    clip_operations,
    encoder_shape,
    policy_shape,
    query_operations,
    trained_parameters,
    training_operations,
)
from bench.forecast.hub import CONTROL_SCENES
from bench.plan.cases import Case
from bench.plan.document import Plan
from bench.plan.machine_performance import Peak
from wmvla.recipe import FRAME_MODES, Training

TRAINING_SHARE, ENCODING_SHARE = 0.1, 0.3
"""Shares of a data sheet's peak: of bf16 in training and acting; of fp32 in the world encoder."""
LEAST_STEP = 0.1
"""Seconds of a training step that a GPU is not to blame for: data, and starting its kernels."""
LEAST_QUERY = 0.05
"""The same of one answer of the policy; answers to waiting simulators are given together."""
REPLAYED = 0.01
"""Seconds of a frame of a replay."""
LEAST_ROW = 0.003
"""Seconds to read and decode one frame of a dataset."""
START = 20.0
"""Seconds in which a case imports and loads."""
WIRING = 20.0
"""Seconds of a tripwire beside its start."""
CORES = 16
"""Of a computer that is not this one."""
DEMONSTRATED_STEPS = 130
"""Of the scripted expert's episode in libero_object."""
RECORDING = 0.017
"""Seconds to write one demonstrated frame into a dataset, in one process."""
PUBLISHED_FRAMES, PUBLISHED_BYTES = 273_465, 34.9e9
"""Of HuggingFaceVLA/libero, as public reports count them; LeRobot's pages say twice the bytes."""
PUBLISHED_MODELS = 1.2e9 + 1.0e9 + 4.1e9
"""Bytes of checkpoint, language model and world encoder, by their numbers of parameters."""
LOSSLESS = 0.45
"""Bytes of a stored image for each byte of its pixels."""
EPISODE_LINE = 600
"""Bytes of an episode in a journal."""
FLOAT = 4
MOMENTS = 2


@dataclass(frozen=True)
class Simulator:
    """CPU seconds of one simulation's parts, on one core of an AMD EPYC (docs/scales.md)."""

    build: float
    reset: float
    step: float
    front: float
    wrist: float


LIBERO_OBJECT = Simulator(build=4.0, reset=0.15, step=0.011, front=0.05, wrist=0.04)
LIBERO_OTHER = Simulator(build=6.0, reset=0.3, step=0.013, front=0.12, wrist=0.09)
CONTROL = Simulator(build=0.1, reset=0.001, step=0.0004, front=0.0, wrist=0.0)


@dataclass(frozen=True)
class Estimate:
    seconds: float
    cpu_seconds: float
    size: float
    """Bytes left on the disk."""


@dataclass(frozen=True)
class Estimator:
    """Costs of a plan's cases on GPUs of a known peak."""

    plan: Plan
    peak: Peak

    def of(self, case: Case) -> Estimate:
        """The case from its start. `cpu_seconds`: of simulators, and one process beside a GPU."""
        made: dict[str, Estimate] = {
            "demonstrations": self._demonstrations(self._episodes),
            "held-out": self._held_out(),
            "latents": self._latents(self._frames),
            "base": self._base(),
            "wiring": self._busy(WIRING),
            "replay": self._busy(self._held_out_episodes * DEMONSTRATED_STEPS * REPLAYED),
        }
        if case.kind == "train":
            return self._train(self.plan.recipe.training)
        if case.kind == "rollout":
            return self._rollout(str(case.mode))
        return made[case.kind]

    @property
    def downloads(self) -> float:
        """Bytes that are fetched before; the dataset twice, for datasets keeps its own copy."""
        recipe = self.plan.recipe
        size = 2 * PUBLISHED_BYTES if recipe.demonstrations.source == "hub" else 0.0
        return size + (PUBLISHED_MODELS if recipe.base.source == "hub" else 0.0)

    @property
    def workers(self) -> int:
        return self.plan.machine.rollout_workers or CORES - 1

    @cached_property
    def _simulator(self) -> Simulator:
        suite = self.plan.recipe.environment.suite
        if suite.startswith(CONTROL_SCENES):
            return CONTROL
        return LIBERO_OBJECT if suite == "libero_object" else LIBERO_OTHER

    @property
    def _episodes(self) -> int:
        return len(self.plan.recipe.environment.tasks) * len(self.plan.recipe.demonstrations.inits)

    @property
    def _held_out_episodes(self) -> int:
        recipe = self.plan.recipe
        return len(recipe.environment.tasks) * len(recipe.demonstrations.held_out)

    @property
    def _frames(self) -> int:
        if self.plan.recipe.demonstrations.source == "hub":
            return PUBLISHED_FRAMES
        return self._episodes * min(DEMONSTRATED_STEPS, self.plan.recipe.environment.max_steps)

    def _busy(self, seconds: float, size: float = 0.0) -> Estimate:
        return Estimate(START + seconds, START + seconds, size)

    def _demonstrations(self, episodes: int) -> Estimate:
        if self.plan.recipe.demonstrations.source == "hub":
            return self._busy(0.0)
        part, frames = self._simulator, episodes * DEMONSTRATED_STEPS
        alone = 2 * part.reset + DEMONSTRATED_STEPS * (2 * part.step + part.front + part.wrist)
        cpu = self._builds(episodes) + episodes * alone
        pixels = 3 * self.plan.recipe.environment.image_size**2
        recording = frames * RECORDING
        seconds = START + cpu / min(self.workers, episodes) + recording
        return Estimate(seconds, START + cpu + recording, frames * CAMERAS * pixels * LOSSLESS)

    def _held_out(self) -> Estimate:
        played = astuple(self._demonstrations(self._held_out_episodes))
        encoded = astuple(self._latents(self._held_out_episodes * DEMONSTRATED_STEPS))
        return Estimate(*(one + other for one, other in zip(played, encoded, strict=True)))

    def _latents(self, rows: int) -> Estimate:
        shape = encoder_shape(self.plan.recipe)
        cameras = CAMERAS if self.plan.recipe.world.camera == "both" else 1
        seconds = rows * cameras * max(LEAST_ROW, clip_operations(shape) / self._speed("encode"))
        return self._busy(seconds, rows * cameras * shape.width * 2)

    def _base(self) -> Estimate:
        recipe = self.plan.recipe
        return self._busy(0.0) if recipe.base.source == "hub" else self._train(recipe.base_training)

    def _train(self, training: Training) -> Estimate:
        shape, processes = policy_shape(self.plan.recipe), self.plan.machine.training_processes
        operations = training.batch_size * training_operations(shape) / processes
        step = max(LEAST_STEP, operations / self._speed("train"))
        kept = FLOAT * (shape.parameters + MOMENTS * trained_parameters(shape))
        return self._busy(training.steps * step, kept)

    def _rollout(self, mode: str) -> Estimate:
        recipe, part, episodes = self.plan.recipe, self._simulator, len(self.plan.episodes)
        steps = recipe.environment.max_steps
        queries = math.ceil(steps / recipe.rollout.n_action_steps)
        world, seen = recipe.world, FRAME_MODES & {mode}
        fronts = min(recipe.rollout.n_action_steps, world.history + world.window - 1) if seen else 1
        alone = part.reset + steps * part.step + queries * (fronts * part.front + part.wrist)
        cpu = self._builds(episodes) + episodes * alone
        answer = query_operations(policy_shape(recipe)) / self._speed("train")
        clips = min(world.history, recipe.rollout.n_action_steps) if seen else 0
        answer += clips * clip_operations(encoder_shape(recipe)) / self._speed("encode")
        answering = episodes * queries * max(LEAST_QUERY / self.workers, answer)
        seconds = max(cpu / min(self.workers, episodes), answering)
        return Estimate(START + seconds, START + cpu + answering, episodes * EPISODE_LINE)

    def _builds(self, episodes: int) -> float:
        """CPU seconds in which every process makes the simulation of every task that it plays."""
        scenes = self.workers * len(self.plan.recipe.environment.tasks)
        return min(scenes, episodes) * self._simulator.build

    def _speed(self, work: Literal["train", "encode"]) -> float:
        """Operations a second of one GPU."""
        if work == "encode" or self.plan.machine.precision == "fp32":
            return ENCODING_SHARE * self.peak.fp32_tflops * 1e12
        return TRAINING_SHARE * self.peak.bf16_tflops * 1e12


def assumptions(estimator: Estimator) -> str:
    """On what the estimates rest, in one sentence."""
    trained, encoded = f"{100 * TRAINING_SHARE:.0f} %", f"{100 * ENCODING_SHARE:.0f} %"
    return (
        f"counts of operations at {trained} of the data sheet's bf16 peak"
        f" ({estimator.peak.bf16_tflops:g} TFLOP/s) and {encoded} of its fp32 peak for the world"
        f" encoder, at least {LEAST_STEP:g} s a training step, {estimator.workers} simulators,"
        " every episode played to its limit (docs/scales.md)"
    )
