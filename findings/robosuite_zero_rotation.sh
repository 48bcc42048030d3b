#!/usr/bin/env bash
# robosuite 1.4.0
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install robosuite==1.4.0 mujoco==3.3.2 numpy==2.2.6 termcolor==3.1.0
"$python" - <<'PYTHON'
import logging

import numpy as np
import robosuite
from robosuite.controllers import load_controller_config

print([h.baseFilename for h in logging.getLogger("robosuite_logs").handlers if hasattr(h, "baseFilename")])


def play(rotation):
    np.random.seed(0)
    env = robosuite.make("Lift", robots="Panda", controller_configs=load_controller_config(default_controller="OSC_POSE"),
        has_renderer=False, has_offscreen_renderer=False, use_camera_obs=False, horizon=200)
    env.reset()
    for _ in range(60):
        found, *_ = env.step(np.array([0.3, 0.1, 0, rotation, rotation, rotation, -1]))
    env.close()
    return found["robot0_eef_pos"], found["robot0_eef_quat"]


for a in (0.0, 0.0, 1e-9, 1e-12, -1e-9):
    print(a, play(a))
PYTHON
