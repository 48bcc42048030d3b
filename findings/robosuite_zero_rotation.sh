#!/usr/bin/env bash
# robosuite 1.4.0, mujoco 3.3.2: a rotation action of exactly 0 is another controller than 1e-12.
#
# The goal of OSC_POSE is relative to where the hand is. For the orientation it is renewed only if
# a number of the rotation action is not exactly 0. With exact zeros the old goal is held, so the
# arm turns back; with 1e-12 each step accepts what the arm has drifted to. Scripted experts and
# teleoperation answer exact zeros, a trained policy never does: data and policy drive two
# controllers.
# What to do: record which of the two a demonstration used; do not round a policy's actions to 0.
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install robosuite==1.4.0 mujoco==3.3.2 numpy==2.2.6 termcolor==3.3.0
"$python" -W ignore - <<'PYTHON'
import sys

import numpy as np
import robosuite
from robosuite.controllers import load_controller_config


def play(rotation):
    """Position (m) and quaternion of the hand after 60 steps."""
    np.random.seed(0)
    env = robosuite.make(
        "Lift",
        robots="Panda",
        controller_configs=load_controller_config(default_controller="OSC_POSE"),
        has_renderer=False,
        has_offscreen_renderer=False,
        use_camera_obs=False,
    )
    env.reset()
    for _ in range(60):
        seen, *_ = env.step(np.array([0.3, 0.1, 0, rotation, rotation, rotation, -1]))
    env.close()
    return seen["robot0_eef_pos"], seen["robot0_eef_quat"]


def apart(one, other):
    """Millimetres and degrees between two poses."""
    lengths = np.linalg.norm(one[1]) * np.linalg.norm(other[1])
    turn = 2 * np.arccos(min(1, abs(one[1] @ other[1]) / lengths))
    return 1000 * np.linalg.norm(one[0] - other[0]), np.degrees(turn)


zero = play(0.0)
again, tiny, tinier = (apart(zero, play(rotation)) for rotation in (0.0, 1e-9, 1e-12))
print("0 against 0 again: {:.3f} mm, {:.3f} degrees".format(*again))
print("0 against 1e-9: {:.3f} mm, {:.3f} degrees".format(*tiny))
print("0 against 1e-12: {:.3f} mm, {:.3f} degrees".format(*tinier))
same = max(again) < 1e-4 and min(tiny[0], tinier[0]) > 0.5 and min(tiny[1], tinier[1]) > 1
sys.exit(0 if same else "the behaviour has changed")
PYTHON
