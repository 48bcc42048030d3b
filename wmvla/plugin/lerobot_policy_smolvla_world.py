"""What LeRobot's plugin scan imports: registers the policy type ``smolvla_world``."""
