"""The control scenes as gymnasium environments, the way stock LeRobot makes and plays them."""

import gymnasium
import lerobot_policy_smolvla_world  # noqa: F401  What LeRobot's plugin scan imports.
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from lerobot.envs.configs import EnvConfig
from lerobot.envs.factory import make_env, make_env_config
from lerobot.envs.utils import env_to_policy_features, preprocess_observation

from wmvla.sim.control.recording import expert_action
from wmvla.sim.control.scenes import LANGUAGE, SCENES, STEPS


@pytest.mark.parametrize("scene", SCENES)
def test_it_is_an_environment_as_gymnasium_asks_for(scene: str) -> None:
    env = gymnasium.make(f"worldbench/{scene}-v0", image_size=64, disable_env_checker=True)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_stock_lerobot_makes_it_and_the_expert_succeeds_in_it() -> None:
    assert "control" in EnvConfig.get_known_choices()
    config = make_env_config("control", task="control_mark")
    names = {key: feature.shape for key, feature in env_to_policy_features(config).items()}
    assert names == {
        "action": (2,),
        "observation.state": (2,),
        "observation.images.image": (3, 64, 64),
    }
    vector = make_env(config, n_envs=2)["control"][0]
    observation, _ = vector.reset(seed=[3, 4])
    assert vector.call("_max_episode_steps") == (STEPS, STEPS)
    assert vector.call("task_description") == (LANGUAGE, LANGUAGE)
    seen = preprocess_observation(observation)
    assert {key: tuple(value.shape) for key, value in seen.items()} == {
        "observation.images.image": (2, 3, 64, 64),
        "observation.state": (2, 2),
    }
    for _ in range(STEPS):
        actions = np.stack([expert_action(env.unwrapped._simulation) for env in vector.envs])
        _, reward, terminated, _, info = vector.step(actions)
    assert terminated.all()
    assert reward.tolist() == [1.0, 1.0]
    assert info["final_info"]["is_success"].tolist() == [True, True]
    vector.close()


def test_the_same_seed_is_the_same_episode() -> None:
    env = gymnasium.make("worldbench/control_catch-v0", image_size=64)
    first, other, again = (env.reset(seed=seed)[0]["pixels"]["image"] for seed in (5, 6, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    env.close()
