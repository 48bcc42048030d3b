#!/usr/bin/env bash
# mujoco 3.3.2: after `mj_step`, joints are of the new time, poses and sensors of the time before.
#
# `mj_step` computes poses first and moves the joints last. What is read after it does not belong
# together: `time`, `qpos` and `qvel` are new; `xpos`, `geom_xpos`, `site_xpos`, `sensordata` and a
# picture are one step old. A dataset that stores both has a hand that lags its joints, and a state
# that is put back from `qpos` shows another picture than the one that was stored with it.
# What to do: call `mj_forward` (or `mj_kinematics`, for poses only) before reading both.
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install mujoco==3.3.2 numpy==2.2.6
"$python" - <<'PYTHON'
import sys

import mujoco

XML = """<mujoco><option gravity="0 0 0" timestep="0.5"/><worldbody><body name="ball">
<joint type="slide" axis="1 0 0"/><geom size=".1"/><site name="centre"/></body></worldbody>
<sensor><framepos objtype="body" objname="ball"/></sensor></mujoco>"""
model = mujoco.MjModel.from_xml_string(XML)
data = mujoco.MjData(model)
data.qvel[0] = 1.0


def read(when):
    poses = (data.body("ball").xpos, data.geom_xpos[0], data.site("centre").xpos, data.sensordata)
    found = data.time, data.qpos[0].item(), *(pose[0].item() for pose in poses)
    print(f"{when}: time {found[0]}, qpos {found[1]}, xpos, geom, site, sensor {found[2:]}")
    return found


for _ in range(3):
    mujoco.mj_step(model, data)
stepped = read("after three mj_step")
mujoco.mj_forward(model, data)
settled = read("then mj_forward")
same = stepped == (1.5, 1.5, 1.0, 1.0, 1.0, 1.0) and settled == (1.5,) * 6
sys.exit(0 if same else "the behaviour has changed")
PYTHON
