"""In the image build: the image's renderer draws the golden frame, without torch or a GPU.

One hash does for every renderer on the CPU. Mesa 22.3.6 and 25.1.7 by OSMesa and 25.2.8 by EGL,
with vectors of 128, 256 and 512 bits, drew these very pixels (MuJoCo 3.3.2, 2026-11-23).
"""

import os

import mujoco

from bench.host.golden_frame import digest, draw

GOLDEN = "d0bea8cf9db627bd4363d802948451853b44f087f15960defeaec6a2fe708f25"

frame, gl = draw()
drawn = digest(frame)
print(
    f"frame sha256 {drawn[:16]} mujoco {mujoco.__version__} MUJOCO_GL={os.environ['MUJOCO_GL']}"
    f" {gl}"
)
if drawn != GOLDEN:
    raise SystemExit(
        f"image: {gl} draws the golden frame otherwise, {drawn[:16]} in place of {GOLDEN[:16]}"
    )
