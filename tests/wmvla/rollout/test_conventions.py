"""A checkpoint that was trained on other states or another gripper than LIBERO's is not played."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.factory import make_policy_config, make_pre_post_processors
from lerobot.processor import (
    DeviceProcessorStep,
    NormalizerProcessorStep,
    PolicyProcessorPipeline,
    RenameObservationsProcessorStep,
    UnnormalizerProcessorStep,
)

from wmvla.errors import UserError
from wmvla.rollout.conventions import check_conventions

FOLDER = Path("/checkpoint")
STARTS = {
    "libero_object 7": [-0.153, -0.009, 0.257, 3.141, 0.001, -0.092, 0.039, -0.039],
    "libero_spatial 0": [-0.211, -0.011, 1.174, 3.141, -0.003, -0.088, 0.039, -0.039],
    "libero_10 0": [-0.046, -0.004, 0.702, 3.141, -0.001, -0.085, 0.039, -0.039],
    "libero_90 80": [-0.291, 0.001, 1.177, 3.141, 0.0, -0.086, 0.039, -0.039],
}
"""First states of the simulator, after settling."""
JOINTS = [0.0, -0.16, 0.0, -2.44, 0.0, 2.23, 0.785, 0.039]
PUBLISHED = {
    "min": [-0.4828, -0.3255, 0.0081, 0.3528, -3.6414, -1.8427, -0.0014, -0.042],
    "max": [0.2103, 0.3913, 1.366, 3.6714, 3.5607, 1.3863, 0.0423, 0.0014],
    "mean": [-0.0465, 0.0344, 0.7646, 2.9722, -0.2205, -0.1256, 0.0269, -0.0272],
    "std": [0.1049, 0.1518, 0.3785, 0.3443, 0.9069, 0.3254, 0.0142, 0.0141],
}
"""Of all of LIBERO's demonstrations, as public checkpoints have them."""
ONE_DEMONSTRATION = {
    "min": [-0.148, -0.25, 0.099, 3.123, -0.011, -0.145, 0.027, -0.04],
    "max": [0.014, 0.284, 0.31, 3.155, 0.015, -0.032, 0.04, -0.026],
    "mean": [-0.068, -0.011, 0.227, 3.139, 0.001, -0.088, 0.031, -0.031],
    "std": [0.058, 0.21, 0.068, 0.006, 0.004, 0.022, 0.006, 0.006],
}
"""Of a single one of our expert's, libero_object 7: the narrowest ranges that there are."""
OF_JOINTS = {
    "min": [-0.211, -0.187, -0.369, -2.479, -0.144, 1.941, 0.137, 0.026],
    "max": [0.189, 0.59, 0.324, -1.596, 0.256, 2.658, 1.313, 0.04],
    "mean": [-0.016, 0.319, -0.046, -2.014, 0.012, 2.268, 0.702, 0.032],
    "std": [0.134, 0.171, 0.24, 0.248, 0.108, 0.206, 0.425, 0.005],
}
"""Of the joint angles and the first finger in six of our expert's demonstrations."""
MODES = [NormalizationMode.MEAN_STD, NormalizationMode.MIN_MAX]


def made(state: dict, mode: NormalizationMode, action: dict | None = None, *further: object):
    """Processors as SmolVLA's, and the checks on them."""
    features = {
        "observation.state": PolicyFeature(FeatureType.STATE, (8,)),
        "action": PolicyFeature(FeatureType.ACTION, (7,)),
    }
    statistics = {"observation.state": state, "action": action or {"min": [-1] * 7, "max": [1] * 7}}
    tensors = {
        key: {name: torch.tensor(value) for name, value in one.items()}
        for key, one in statistics.items()
    }
    how = (features, {FeatureType.STATE: mode, FeatureType.ACTION: mode}, tensors)
    before = PolicyProcessorPipeline(
        [DeviceProcessorStep("cpu"), NormalizerProcessorStep(*how)], "before"
    )
    after = PolicyProcessorPipeline(
        [UnnormalizerProcessorStep(*how), DeviceProcessorStep("cpu"), *further], "after"
    )
    check_conventions((before, after), FOLDER)
    return before


def normalised(pipeline: PolicyProcessorPipeline, *states: list) -> np.ndarray:
    given = {"observation.state": torch.tensor(states, dtype=torch.float32)}
    return pipeline(given)["observation.state"].numpy()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("statistics", [PUBLISHED, ONE_DEMONSTRATION], ids=["published", "one"])
def test_liberos_states_are_played_also_of_another_suite(mode, statistics) -> None:
    for start in STARTS.values():
        pipeline = made(statistics, mode)
        normalised(pipeline, start)
        assert not pipeline.before_step_hooks, "it looks at the first state alone"
    normalised(pipeline, JOINTS)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_statistics_of_joint_angles_are_refused(mode, start) -> None:
    with pytest.raises(
        UserError,
        match=(
            r"^/checkpoint: 'observation.state' of LIBERO begins at axis-angle x = 3\.14"
            r" \(-2\.\d* to -1\.\d*\), axis-angle z = -0\.0\d* \(1\.\d* to 2\.\d*\), finger 2 ="
            r" -0\.039 \(0\.\d* to 0\.0\d*\);"
        ),
    ) as refused:
        normalised(made(OF_JOINTS, mode), start)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("statistics", [PUBLISHED, ONE_DEMONSTRATION], ids=["published", "one"])
def test_joint_angles_are_refused_where_poses_were_trained_on(mode, statistics) -> None:
    with pytest.raises(UserError, match=r"finger 1 = 0\.785"):
        normalised(made(statistics, mode), JOINTS)


def test_every_episode_that_begins_at_once_is_looked_at() -> None:
    good = STARTS["libero_10 0"]
    with pytest.raises(UserError, match=r"axis-angle x = -2\.44"):
        normalised(made(PUBLISHED, MODES[0]), good, JOINTS)


def test_looking_changes_no_number() -> None:
    start = STARTS["libero_10 0"]
    pipeline = made(PUBLISHED, MODES[0])
    first, second = normalised(pipeline, start), normalised(pipeline, start)
    np.testing.assert_array_equal(first, second)


def last(numbers: dict[str, float]) -> dict[str, list[float]]:
    """Statistics of actions whose gripper has those."""
    return {name: [0.5] * 6 + [value] for name, value in numbers.items()}


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"min": 0.0, "max": 1.0}, "min 0, max 1"),
        ({"min": 0.0, "max": 1.0, "mean": 0.4, "std": 0.7}, "min 0, max 1"),
        ({"q01": 0.0, "q99": 0.998}, "q01 0, q99 0.998"),
        ({"mean": 0.45, "std": 0.4975}, "mean 0.45, std 0.4975"),
    ],
)
def test_a_gripper_of_0_and_1_is_refused(numbers: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=rf"^/checkpoint: action 6, the gripper.*\({said}\)"):
        made(PUBLISHED, MODES[0], last(numbers))


@pytest.mark.parametrize(
    "numbers",
    [
        {"min": -1.0, "max": 1.0, "mean": -0.0496, "std": 0.9988},
        {"mean": -0.0496, "std": 0.9988},
        {"mean": 0.9, "std": 0.436},
        {"min": -1.0, "max": -1.0},
        {"q01": -1.0, "q99": 1.0},
    ],
)
def test_liberos_gripper_is_played(numbers: dict[str, float]) -> None:
    made(PUBLISHED, MODES[0], last(numbers))


def test_what_a_further_step_makes_of_the_gripper_is_left_to_it() -> None:
    made(PUBLISHED, MODES[0], last({"min": 0.0, "max": 1.0}), RenameObservationsProcessorStep({}))


CAMERA = {"observation.images.image": PolicyFeature(FeatureType.VISUAL, (3, 32, 32))}
STATE = PolicyFeature(FeatureType.STATE, (8,))


@pytest.mark.parametrize("kind", ["act", "diffusion", "vqbet", "tdmpc"])
def test_so_it_is_with_the_processors_of_other_types(kind: str) -> None:
    config = make_policy_config(kind, device="cpu")
    config.input_features = {**CAMERA, "observation.state": STATE}
    config.output_features = {"action": PolicyFeature(FeatureType.ACTION, (7,))}
    action = {"min": [-1.0] * 7, "max": [1.0] * 7, "mean": [0.0] * 7, "std": [1.0] * 7}
    image = {name: [[[value]]] * 3 for name, value in zip(action, (0, 1, 0.5, 0.2), strict=True)}
    given = torch.zeros(1, 3, 32, 32)
    for known, refused in ((PUBLISHED, False), (OF_JOINTS, True)):
        numbers = {"observation.state": known, "action": action, **dict.fromkeys(CAMERA, image)}
        statistics = {
            key: {name: torch.tensor(value) for name, value in one.items()}
            for key, one in numbers.items()
        }
        processors = make_pre_post_processors(config, dataset_stats=statistics)
        check_conventions(processors, FOLDER)
        states = torch.tensor([STARTS["libero_10 0"]])
        batch = {"observation.state": states, **dict.fromkeys(CAMERA, given), "task": ["wait"]}
        with (
            pytest.raises(UserError, match="axis-angle x") if refused else contextlib.nullcontext()
        ):
            processors[0](batch)
        assert not processors[0].before_step_hooks, "it has looked"
