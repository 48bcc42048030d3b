"""What LeRobot's plugin scan imports: registers the policy type ``smolvla_world`` and the
environment type ``control``."""

from wmvla.policy import (
    configuration_smolvla_world,
    modeling_smolvla_world,
    processor_smolvla_world,
)
from wmvla.sim.control import lerobot_env

__all__ = [
    "configuration_smolvla_world",
    "lerobot_env",
    "modeling_smolvla_world",
    "processor_smolvla_world",
]
