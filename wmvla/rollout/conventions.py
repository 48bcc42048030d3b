"""Whether a checkpoint's statistics are those of LIBERO's states and actions: eight numbers may be
joint angles, and a gripper may be opened by another number.

What cannot be seen in statistics: a gripper that closes at -1 and opens at 1 has the same ones.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.configs import FeatureType, NormalizationMode
from lerobot.lerobot_types import EnvTransition, TransitionKey
from lerobot.processor import (
    DeviceProcessorStep,
    NormalizerProcessorStep,
    PolicyProcessorPipeline,
    UnnormalizerProcessorStep,
)
from lerobot.utils.constants import ACTION

from wmvla.errors import UserError
from wmvla.policy.normalisation import STATISTICS, Pipelines

STATE = (
    *("x", "y", "z", "axis-angle x", "axis-angle y", "axis-angle z"),
    *("finger 1", "finger 2"),
)
"""LIBERO's state, by its numbers: hand (m, rad) and fingers (m)."""
POSITION = 3
"""So many of them depend on the scene, at an episode's start too, and do not count."""
FARTHEST = 2.0
"""How far outside what was trained on a first state may lie, in widths of that range, summed over
orientation and fingers; measured, see ``outside``."""
NAMED = 0.4
"""Numbers that lie farther outside are named: a fifth of what is refused, so there is one."""
DEVIATIONS = 3.0
"""A mean and standard deviation stand for a range of so many of them to each side."""
GRIPPER = 6
"""Which number of an action it is: LIBERO's opens at -1 and closes at 1."""
OF_0_AND_1 = 0.01
"""How far the variance of a gripper of 0 and 1 may lie from mean x (1 - mean)."""


def check_conventions(processors: Pipelines, folder: Path) -> None:
    """Refuse a checkpoint whose gripper is not LIBERO's; and, by a hook that looks once, at the
    first state that it is given, one that was trained on other states.

    Args:
        processors: of the checkpoint in ``folder``, as they will be used.

    Raises:
        UserError: for the gripper now, for the state when the preprocessor is first called.
    """
    preprocessor, postprocessor = processors
    refuse_other_gripper(postprocessor, folder)
    normalisers = [
        (place, step)
        for place, step in enumerate(preprocessor.steps)
        if isinstance(step, NormalizerProcessorStep)
    ]

    def look(place: int, transition: EnvTransition) -> None:
        for at, step in normalisers:
            if at == place:
                preprocessor.unregister_before_step_hook(look)
                _refuse_other_state(step, transition, folder)

    preprocessor.register_before_step_hook(look)


def refuse_other_gripper(postprocessor: PolicyProcessorPipeline, folder: Path) -> None:
    """UserError where the policy's actions are un-normalised to a gripper of 0 and 1. What a
    further step makes of them is not known, and nothing is refused."""
    steps = [each for each in postprocessor.steps if not isinstance(each, DeviceProcessorStep)]
    if not steps or not isinstance(last := steps[-1], UnnormalizerProcessorStep):
        return
    if said := gripper_of_0_and_1((last.stats or {}).get(ACTION, {})):
        raise UserError(
            f"{folder}: action {GRIPPER}, the gripper, was trained on from 0 to 1 ({said}), but"
            " LIBERO's opens at -1 and closes at 1, so that this policy could never open it: train"
            " it on data with LIBERO's gripper."
        )


def gripper_of_0_and_1(statistics: Mapping[str, Any]) -> str | None:
    """What the statistics (7,) of actions say of a gripper that is 0 or 1, else None.

    By its smallest and largest value where they are known, or the quantiles. Else by mean m and
    standard deviation s: of zeros and ones s2 = m (1 - m), of -1 and 1 it is 1 - m2.
    """
    numbers = {
        name: float(values[GRIPPER])
        for name, value in statistics.items()
        if len(values := np.asarray(value, np.float64).reshape(-1)) > GRIPPER
    }
    for low, high in (("min", "max"), ("q01", "q99"), ("q10", "q90")):
        if low in numbers and high in numbers:
            found = -0.1 < numbers[low] < 0.1 and 0.9 < numbers[high] < 1.1
            return f"{low} {numbers[low]:g}, {high} {numbers[high]:g}" if found else None
    if not {"mean", "std"} <= set(numbers):
        return None
    mean, variance = numbers["mean"], numbers["std"] ** 2
    found = 0.05 < mean < 0.95 and abs(variance - mean * (1 - mean)) < OF_0_AND_1
    return f"mean {mean:g}, std {numbers['std']:g}" if found else None


def outside(state: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far each number of a state (8,) lies outside of ``low`` to ``high``, in widths of that.

    The rule, with its figures: orientation and fingers at an episode's start are the same in every
    LIBERO scene (78 first states of 13 tasks of five suites differ by less than 0.02), and every
    LIBERO dataset begins there. Summed over these five numbers, first states lie 0.0 widths outside
    of the ranges of published statistics of all of LIBERO, and of our demonstrations of another
    suite, even of a single one; 0.1 outside of q10 to q90. Where the statistics are those of joint
    angles it is 12.9 for min and max, 6.1 for mean and standard deviation, 13.8 for q01 and q99,
    16.4 for q10 and q90; 11.0 to 19.8 for joint angles against published statistics of poses.
    The position does not count: it is up to 4.3 widths outside of the range of another suite's
    demonstrations, because tables stand 0.9 m higher than the floor.
    """
    beyond = np.maximum(np.maximum(low - state, state - high), 0.0)
    width = high - low
    return np.where(beyond > 0, beyond / np.maximum(width, 1e-6), 0.0)


def _refuse_other_state(
    step: NormalizerProcessorStep, transition: EnvTransition, folder: Path
) -> None:
    mode = step.norm_map.get(FeatureType.STATE, NormalizationMode.IDENTITY)
    seen = transition.get(TransitionKey.OBSERVATION) or {}
    for key, feature in step.features.items():
        known = (step.stats or {}).get(key, {})
        names = STATISTICS.get(mode, ("min", "max"))  # kept also where nothing is normalised
        if feature.type is not FeatureType.STATE or key not in seen or not set(names) <= set(known):
            continue
        given = seen[key].cpu().numpy().astype(np.float64)
        states = given.reshape(-1, given.shape[-1])[:, : len(STATE)]
        first, second = (
            np.asarray(known[name], np.float64).reshape(-1)[: len(STATE)] for name in names
        )
        if states.shape[1] != len(STATE) or len(first) != len(STATE):
            continue
        low, high = first, second
        if mode is NormalizationMode.MEAN_STD:
            low, high = first - DEVIATIONS * second, first + DEVIATIONS * second
        for state in states:
            far = outside(state, low, high)
            far[:POSITION] = 0.0
            if far.sum() > FARTHEST:
                said = [
                    f"{STATE[n]} = {state[n]:.3g} ({low[n]:.3g} to {high[n]:.3g})"
                    for n in np.flatnonzero(far > NAMED)
                ]
                raise UserError(
                    f"{folder}: '{key}' of LIBERO begins at {', '.join(said)}; in brackets what the"
                    " checkpoint was trained on: other states, joint angles for instance. Train it"
                    " on LIBERO's (position, axis-angle, fingers)."
                )
