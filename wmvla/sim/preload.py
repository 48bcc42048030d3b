"""What the fork server imports once, so that simulators forked from it start in milliseconds.

Non-obvious: MuJoCo's EGL opens a display when it is imported, and a display must not be forked;
there only torch is shared. A failing import is left alone here: the simulator's own process meets
it again, and reports it.
"""

import contextlib
import os

import torch  # noqa: F401

if os.environ.get("MUJOCO_GL", "osmesa") == "osmesa":
    with contextlib.suppress(Exception):
        import wmvla.sim.libero.env  # noqa: F401
