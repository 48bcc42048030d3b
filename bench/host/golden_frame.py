"""One frame whose every pixel is the renderer's alone: no state is simulated, no asset is read.
``python -m bench.host.golden_frame`` prints its hash: equal hashes, equal drawing."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIZE = 64
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


def draw() -> "tuple[NDArray[np.uint8], str]":
    """The frame (SIZE, SIZE, 3), drawn in this process, and the name of the OpenGL that drew it."""
    import mujoco
    from OpenGL import GL

    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, SIZE, SIZE) as renderer:
        renderer.update_scene(data, "front")
        return renderer.render(), GL.glGetString(GL.GL_RENDERER).decode()


def digest(frame: "NDArray[np.uint8]") -> str:
    assert frame.std() > 0, "an empty frame was drawn"
    return hashlib.sha256(frame.tobytes()).hexdigest()


if __name__ == "__main__":
    print(digest(draw()[0]))
