"""In the image build: draw one frame with the image's renderer, without torch or a GPU, and say which OpenGL drew it."""

import os

import mujoco
import numpy as np

from bench.golden_frame import digest, draw

frame, gl = draw()
red = (frame[..., 0] > 100) & (frame[..., 1] < 60)
assert 100 < np.count_nonzero(red) < 2000, f"the red sphere covers {np.count_nonzero(red)} of 4096 pixels"
print(f"frame sha256 {digest(frame)[:16]} mujoco {mujoco.__version__} MUJOCO_GL={os.environ['MUJOCO_GL']} {gl}")
