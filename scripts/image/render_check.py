"""In the image build: draw one frame with the image's renderer, without torch or a GPU, and say which OpenGL drew it."""

import hashlib
import os

import mujoco
import numpy as np
from OpenGL import GL

SCENE = """
<mujoco>
  <visual><global offwidth="64" offheight="64"/></visual>
  <worldbody>
    <light pos="0 0 3" dir="0 0 -1"/>
    <geom type="plane" size="1 1 0.1" rgba="0.2 0.3 0.4 1"/>
    <geom type="sphere" size="0.3" pos="0 0 0.3" rgba="0.9 0.1 0.1 1"/>
    <camera name="front" pos="0 -2 1" xyaxes="1 0 0 0 0.45 0.9"/>
  </worldbody>
</mujoco>
"""

model = mujoco.MjModel.from_xml_string(SCENE)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 64, 64) as renderer:
    renderer.update_scene(data, "front")
    frame = renderer.render()
    gl = GL.glGetString(GL.GL_RENDERER).decode()

red = (frame[..., 0] > 100) & (frame[..., 1] < 60)
assert 100 < np.count_nonzero(red) < 2000, f"the red sphere covers {np.count_nonzero(red)} of 4096 pixels"
digest = hashlib.sha256(frame.tobytes()).hexdigest()
print(f"frame sha256 {digest[:16]} mujoco {mujoco.__version__} MUJOCO_GL={os.environ['MUJOCO_GL']} {gl}")
