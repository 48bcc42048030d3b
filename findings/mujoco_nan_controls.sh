#!/usr/bin/env bash
# mujoco 3.3.2: one control that is not finite sets ALL controls of the step to 0, silently.
#
# NaN, inf and numbers above 1e10 in `data.ctrl` raise nothing in Python. MuJoCo plays the step with
# every actuator at 0, leaves `data.ctrl` as it was, keeps the state finite, and so a policy that
# answers NaN looks like one that does nothing. The only traces are the count in
# `data.warning[mjWARN_BADCTRL]` and a line on standard error and in `MUJOCO_LOG.TXT`, which it
# makes in the current folder, once for each `MjData`.
# What to do: check actions with `numpy.isfinite`, and read `data.warning` at the end of an episode.
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install mujoco==3.3.2 numpy==2.2.6
"$python" - <<'PYTHON'
import sys
from pathlib import Path

import mujoco
import numpy as np

XML = """<mujoco><worldbody>
<body><joint name="a" type="slide" axis="1 0 0"/><geom size=".1"/></body>
<body pos="0 1 0"><joint name="b" type="slide" axis="1 0 0"/><geom size=".1"/></body>
</worldbody><actuator><motor joint="a"/><motor joint="b"/></actuator></mujoco>"""


def play(*controls):
    """Both positions after 100 steps, and how often MuJoCo warned of a control."""
    model = mujoco.MjModel.from_xml_string(XML)
    data = mujoco.MjData(model)
    for _ in range(100):
        data.ctrl[:] = controls
        mujoco.mj_step(model, data)
    warned = int(data.warning[mujoco.mjtWarning.mjWARN_BADCTRL].number)
    print(f"controls {controls}: positions {data.qpos.tolist()}, {warned} warnings", flush=True)
    return *data.qpos.tolist(), warned


good = play(1.0, 1.0)
log = Path("MUJOCO_LOG.TXT")
before = log.exists()
bad = [play(number, 1.0) for number in (np.nan, np.inf, 1e11)]
print(f"{log} before and after: {before}, {log.exists()}")
same = min(good[:2]) > 0 and good[2] == 0 and bad == [(0.0, 0.0, 100)] * 3
sys.exit(0 if same and not before and log.exists() else "the behaviour has changed")
PYTHON
