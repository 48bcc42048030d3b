"""Demonstrations of a control scene: the machinery of LIBERO's, and stock LeRobot reads what it
wrote."""

import json
from pathlib import Path

import numpy as np
import pytest
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from wmvla.errors import UserError
from wmvla.recipe import Demonstrations, Environment
from wmvla.sim.control.scenes import LANGUAGE, STEPS
from wmvla.sim.demonstration_seeds import episode_seed
from wmvla.sim.demonstrations import make_demonstrations
from wmvla.sim.suites import make_simulation

ENVIRONMENT = Environment("control_catch", (0,), image_size=64, max_steps=STEPS)
DEMONSTRATIONS = Demonstrations("local/catch", "expert", inits=(4, 9), push_strength=0.0)


def test_the_dataset_is_what_the_expert_played(tmp_path: Path) -> None:
    folder = make_demonstrations(ENVIRONMENT, DEMONSTRATIONS, tmp_path / "catch", workers=1)
    dataset = LeRobotDataset("local/catch", root=folder)
    assert (len(dataset), dataset.fps, dataset.meta.robot_type) == (2 * STEPS, 20, "paddle")
    simulation = make_simulation(ENVIRONMENT, 0)
    for number, init in enumerate(DEMONSTRATIONS.inits):
        observation = simulation.reset(
            init, episode_seed(DEMONSTRATIONS, 0, init), frozenset({"image"})
        )
        for t in range(STEPS):
            row = dataset[number * STEPS + t]
            assert row["task"] == LANGUAGE
            np.testing.assert_array_equal(row["observation.state"].numpy(), observation.state)
            image = (
                (row["observation.images.image"].permute(1, 2, 0).numpy() * 255)
                .round()
                .astype(np.uint8)
            )
            np.testing.assert_array_equal(image, observation.images["image"])
            result = simulation.step(row["action"].numpy(), frozenset({"image"}))
            observation = result.observation
        assert result.success, "the recorded actions catch the ball"
    simulation.close()
    episodes = json.loads((folder / "meta" / "expert.json").read_text())["episodes"]
    assert [(episode["init"], episode["frames"]) for episode in episodes] == [
        (4, STEPS),
        (9, STEPS),
    ]


def test_what_a_worker_refuses_is_the_callers_one_sentence(tmp_path: Path) -> None:
    pushed = Demonstrations("local/catch", "expert", inits=(4,))
    with pytest.raises(UserError, match=r"demonstrations.push_strength is 1.5"):
        make_demonstrations(ENVIRONMENT, pushed, tmp_path / "catch", workers=1)
