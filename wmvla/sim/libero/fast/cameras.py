"""Cameras on demand: an image is drawn only for the steps whose observation somebody reads.

Drawing is most of LIBERO's cost (65-175 ms a front image on one core, against 15 ms of physics a
step), and a policy that plays 8 actions of each chunk reads one observation in eight.

Non-obvious: robosuite samples an image 48 ms into each 50 ms control step, from inside the step.
What is wanted must therefore be known *before* the step. Disabling the image observables instead
would lose their sampling phase, and drawing after the step would show a different moment.
"""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from wmvla.watch.phase import phase

MUJOCO_CAMERAS = {"image": "agentview", "image2": "robot0_eye_in_hand"}
"""LeRobot's name of each camera, and MuJoCo's."""

ALL = frozenset(MUJOCO_CAMERAS)
NONE: frozenset[str] = frozenset()


class CamerasOnDemand:
    """Stands between robosuite's image sensors and the renderer.

    ``wanted`` are the cameras (LeRobot's names) drawn when robosuite next samples them; the others
    yield zeros. ``renders`` counts the images drawn.
    """

    def __init__(self, *, only_what_shows: bool) -> None:
        self.only_what_shows = only_what_shows
        # Weakly: robosuite must free a context while it is the current one.
        self._context: Callable[[], Any] = lambda: None
        self.wanted = NONE
        self.renders = 0

    def install(self, env: Any) -> None:
        """Put our sensors into the robosuite environment ``env``, which is not yet initialised.

        Its method is replaced on this one object, not on its class: stock environments in the
        process stay stock.
        """
        lerobot_names = {mujoco_name: name for name, mujoco_name in MUJOCO_CAMERAS.items()}
        create_camera_sensors = env._create_camera_sensors

        def create(cam_name: str, cam_w: int, cam_h: int, **rest: Any) -> tuple[list, list]:
            (draw,), names = create_camera_sensors(cam_name, cam_w=cam_w, cam_h=cam_h, **rest)
            name = lerobot_names[cam_name]
            blank = np.zeros((cam_h, cam_w, 3), dtype=np.uint8)

            def draw_if_wanted(obs_cache: dict) -> np.ndarray:
                if name not in self.wanted:
                    return blank
                self.renders += 1
                with phase("render"):
                    make_current(env)
                    self._draw_only_what_shows(env)
                    return draw(obs_cache)

            draw_if_wanted.__modality__ = draw.__modality__  # type: ignore[attr-defined]
            return [draw_if_wanted], names

        env._create_camera_sensors = create

    def _draw_only_what_shows(self, env: Any) -> None:
        """Every hard reset brings a new render context."""
        context = env.sim._render_context_offscreen
        if self.only_what_shows and context is not self._context():
            self._context = weakref.ref(context)
            # PyOpenGL settles for a platform at its import; by now MuJoCo has chosen one.
            from wmvla.sim.libero.fast.drawing import Drawing, draws_in_software

            if draws_in_software():
                Drawing(context)


def make_current(env: Any) -> None:
    """Let OpenGL calls of this thread go to ``env``'s own context.

    Robosuite does so only when it makes a context, so that of two environments in a process the
    older one draws, and when it is closed frees, the younger one's meshes and textures.
    """
    env.sim._render_context_offscreen.gl_ctx.make_current()


def as_policy_sees(raw: np.ndarray) -> np.ndarray:
    """Turn robosuite's image (H, W, 3) by 180 degrees, as LeRobot's ``LiberoProcessorStep``."""
    return np.ascontiguousarray(raw[::-1, ::-1])
