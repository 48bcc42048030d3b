"""Which OpenGL draws: chosen in the environment before MuJoCo is imported, which reads it once."""

import ctypes
import ctypes.util
import os

from wmvla.errors import UserError


def choose_renderer() -> None:
    """Set ``MUJOCO_GL`` to OSMesa unless the user has set it, and PyOpenGL's and Mesa's variables
    to match. UserError for a renderer that needs a display, and if OSMesa cannot be loaded."""
    # Mesa's rasteriser threads cost 18 % more CPU time here and draw the same pixels.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    # Its cache on disk has a thread, which a process that is forked lacks.
    os.environ.setdefault("MESA_SHADER_CACHE_DISABLE", "true")
    platform = os.environ.setdefault("MUJOCO_GL", "osmesa")
    if platform not in ("osmesa", "egl"):
        raise UserError(
            f"MUJOCO_GL={platform} is not an offscreen renderer: set it to osmesa or egl."
        )
    os.environ.setdefault("PYOPENGL_PLATFORM", platform)
    if platform == "osmesa" and not _loads("OSMesa"):
        raise UserError(
            "The OSMesa library is missing, and no image can be drawn without it: apt-get "
            "install libosmesa6."
        )


def _loads(library: str) -> bool:
    """Whether the dynamic linker finds a library and can load it."""
    name = ctypes.util.find_library(library)
    if name is None:
        return False
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
