"""What LeRobot's plugin scan imports: registers the policy type ``smolvla_world``."""

from wmvla.policy import configuration_smolvla_world, modeling_smolvla_world, processor_smolvla_world

__all__ = ["configuration_smolvla_world", "modeling_smolvla_world", "processor_smolvla_world"]
