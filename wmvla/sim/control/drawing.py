"""A control scene as MuJoCo draws it from above: plane, ball, paddle and, in ``mark``, the mark.

Nothing here has physics: every body is placed by hand, so an image costs less than a millisecond on
one core.
"""

import numpy as np

from wmvla.sim.renderer import choose_renderer

choose_renderer()
import mujoco  # noqa: E402  It reads at its import which OpenGL it shall use.

MARK_X = 0.95
"""The mark lies beside the paddle's way, so that the paddle never hides it."""
_MODEL = """
<mujoco>
  <visual>
    <headlight ambient="0.6 0.6 0.6" diffuse="0.4 0.4 0.4" specular="0 0 0"/>
    <quality offsamples="0" shadowsize="0"/>
    <global offwidth="{size}" offheight="{size}"/>
  </visual>
  <worldbody>
    <camera name="above" pos="0 0 2.6" fovy="45"/>
    <geom type="plane" size="2 2 1" rgba="0.2 0.2 0.25 1"/>
    <body name="ball" mocap="true"><geom type="sphere" size="0.09" rgba="0.9 0.3 0.2 1"/></body>
    <body name="paddle" mocap="true">
      <geom type="box" size="0.04 0.15 0.04" rgba="0.3 0.8 0.4 1"/></body>
    <body name="mark" mocap="true">
      <geom type="box" size="0.06 0.06 0.01" rgba="0.95 0.9 0.3 1"/></body>
  </worldbody>
</mujoco>
"""
_HEIGHT = 0.1
_BELOW = np.array([0.0, 0.0, -1.0])
"""Under the plane, where nothing is seen."""


class Drawing:
    """Draws a control scene at ``image_size`` x ``image_size`` pixels, objects at places (2,)."""

    def __init__(self, image_size: int) -> None:
        self._model = mujoco.MjModel.from_xml_string(_MODEL.format(size=image_size))
        self._data = mujoco.MjData(self._model)
        self._renderer = mujoco.Renderer(self._model, height=image_size, width=image_size)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = False

    def draw(self, ball: np.ndarray, paddle: np.ndarray, mark: float | None) -> np.ndarray:
        """Image (H, W, 3) uint8; ``mark``: where it lies across the ball's way, if there is one."""
        places = {
            "ball": [*ball, _HEIGHT],
            "paddle": [*paddle, _HEIGHT],
            "mark": _BELOW if mark is None else [MARK_X, mark, 0.01],
        }
        for name, place in places.items():
            self._data.mocap_pos[self._model.body(name).mocapid[0]] = place
        # The camera belongs to no body: without mj_camlight it is silently wrong.
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, camera="above")
        image: np.ndarray = self._renderer.render()
        return image

    def close(self) -> None:
        self._renderer.close()
