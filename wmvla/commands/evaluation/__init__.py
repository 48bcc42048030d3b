"""`lerobot-wm-eval`: any LeRobot checkpoint, played by the engine of the suites."""
