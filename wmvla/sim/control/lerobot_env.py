"""``--env.type=control`` for stock ``lerobot-eval``: the control scenes, by the plugin."""

from dataclasses import dataclass, field
from typing import Any

import gymnasium
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from wmvla.sim.control.scenes import ACTION_DIM, CATCH, FRONT, SCENES, STATE_DIM, STEPS


@EnvConfig.register_subclass("control")
@dataclass
class ControlEnvConfig(EnvConfig):
    """``task``: ``control_catch``, ``control_bounce`` or ``control_mark``."""

    task: str | None = CATCH
    fps: int = 20
    image_size: int = 64
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(
        default_factory=lambda: {
            ACTION: ACTION,
            "agent_pos": OBS_STATE,
            f"pixels/{FRONT}": f"{OBS_IMAGES}.{FRONT}",
        }
    )

    def __post_init__(self) -> None:
        self.features = {
            ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(ACTION_DIM,)),
            "agent_pos": PolicyFeature(type=FeatureType.STATE, shape=(STATE_DIM,)),
            f"pixels/{FRONT}": PolicyFeature(
                type=FeatureType.VISUAL, shape=(self.image_size, self.image_size, 3)
            ),
        }

    @property
    def gym_id(self) -> str:
        return gym_id(str(self.task))

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        return {"image_size": self.image_size}


def gym_id(scene: str) -> str:
    """Gymnasium's name of a scene: ``worldbench/control_catch-v0``."""
    return f"worldbench/{scene}-v0"


for _scene in SCENES:
    gymnasium.register(
        gym_id(_scene),
        "wmvla.sim.control.gym_env:ControlEnv",
        max_episode_steps=STEPS,
        kwargs={"scene": _scene},
    )
