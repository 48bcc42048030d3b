"""Which triangles of a mesh can colour a pixel of a small image; too many at worst, never too few.

A rasteriser colours a sample where a triangle that faces the camera covers it. LIBERO's meshes have
300 000 triangles and a 64 x 64 image has 16 384 samples, so nine triangles in ten cover none. Those
can be left out and no pixel changes. Every test here errs towards keeping: a triangle is left out
only when it misses all samples by more than ``margin``.
"""

from dataclasses import dataclass

import numpy as np

SUBPIXEL = 1 / 256
"""Rasterisers round window coordinates to this many pixels (8 bits in llvmpipe and most)."""
ROUNDING = 4 * SUBPIXEL
"""Pixels that cover the rounding of window coordinates and of single precision."""


@dataclass(frozen=True)
class View:
    """A pinhole camera at the origin that looks along -z with y upwards, as OpenGL's.

    ``slope``: tangent of half the vertical field of view. ``size``: pixels (width, height).
    ``near``: distance (m) of the near plane. ``samples`` (S, 2): where inside a pixel colour is
    sampled, from its lower left corner, in [0, 1); their rows and columns lie at (k + 1/2) /
    ``lattice``.
    """

    slope: float
    size: tuple[int, int]
    near: float
    samples: np.ndarray
    lattice: int

    @property
    def focal(self) -> float:
        """Pixels per unit of slope."""
        return self.size[1] / 2 / self.slope


@dataclass(frozen=True)
class Mirror:
    """A reflecting rectangle (m): ``point`` on its plane, unit ``normal``, ``corners`` (4, 3)."""

    point: np.ndarray
    normal: np.ndarray
    corners: np.ndarray

    def reflected(self, points: np.ndarray) -> np.ndarray:
        """Mirror images of ``points`` (3, N)."""
        normal = self.normal.astype(points.dtype)
        height = normal @ points - points.dtype.type(self.normal @ self.point)
        return points - 2 * np.outer(normal, height)


def faces_in_sight(
    view: View, vertices: np.ndarray, faces: np.ndarray, slack: float, mirror: Mirror | None = None
) -> np.ndarray:
    """Indices of the triangles that may colour a sample, in order: ``vertices`` (3, V) float32 in
    the camera's frame (m), ``faces`` (3, F), counterclockwise from outside. The mesh may move by
    ``slack`` (m) as a whole; triangles seen in ``mirror``, which does not move, count too.
    """
    seen = _seen(view, vertices, faces, slack, None, backs=False)
    if mirror is not None:
        window = _window(view, mirror.corners)
        if window is not None:
            images = mirror.reflected(vertices)
            seen = np.union1d(seen, _seen(view, images, faces, slack, window, backs=True))
    return seen


def boxes_in_sight(view: View, corners: np.ndarray, mirror: Mirror | None = None) -> np.ndarray:
    """Whether each of N boxes, by its ``corners`` (N, 8, 3), may be inside the image, (N,) bool."""
    inside = _boxes_inside(view, corners, None)
    if mirror is not None:
        window = _window(view, mirror.corners)
        if window is not None:
            images = mirror.reflected(corners.reshape(-1, 3).T).T.reshape(corners.shape)
            inside |= _boxes_inside(view, images, window)
    return inside


def _boxes_inside(
    view: View, corners: np.ndarray, window: tuple[float, float, float, float] | None
) -> np.ndarray:
    """A box is outside if all its corners lie beyond one side of the image's (window's) pyramid."""
    depth = -corners[..., 2]
    left, bottom, right, top = (
        (0.0, 0.0, float(view.size[0]), float(view.size[1])) if window is None else window
    )
    across = [(side - view.size[0] / 2) / view.focal for side in (left - 1, right + 1)]
    upwards = [(side - view.size[1] / 2) / view.focal for side in (bottom - 1, top + 1)]
    x, y = corners[..., 0], corners[..., 1]
    beyond = [
        x < across[0] * depth,
        x > across[1] * depth,
        y < upwards[0] * depth,
        y > upwards[1] * depth,
        depth < view.near / 2,
    ]
    return ~np.any([side.all(axis=1) for side in beyond], axis=0)


def _seen(
    view: View,
    vertices: np.ndarray,
    faces: np.ndarray,
    slack: float,
    window: tuple[float, float, float, float] | None,
    *,
    backs: bool,
) -> np.ndarray:
    """One look at the triangles, indices of those in sight; with ``backs`` also from behind."""
    depth = -vertices[2]
    close = depth < 2 * view.near + slack
    any_close = bool(close.any())
    safe = np.where(close, np.float32(1), depth) if any_close else depth
    scale = np.float32(view.focal) / safe
    x = vertices[0] * scale + np.float32(view.size[0] / 2)
    y = vertices[1] * scale + np.float32(view.size[1] / 2)
    # A shift by `slack` moves a point's image by at most focal / depth (1 + slope) slack; no image
    # spans a slope above 2.
    nearest = float(safe.min()) if not close.all() else 1.0
    margin = ROUNDING + 3 * slack * view.focal / nearest
    xs, ys = x[faces], y[faces]
    low_x, high_x = xs.min(axis=0), xs.max(axis=0)
    low_y, high_y = ys.min(axis=0), ys.max(axis=0)
    # First a cheap look: most triangles lie between all rows or all columns of samples.
    chosen = np.flatnonzero(
        _meets(low_x, high_x, view.lattice, margin) & _meets(low_y, high_y, view.lattice, margin)
    )
    low_x, high_x, low_y, high_y = low_x[chosen], high_x[chosen], low_y[chosen], high_y[chosen]
    left, bottom, right, top = (
        (0.0, 0.0, float(view.size[0]), float(view.size[1])) if window is None else window
    )
    inside = (
        (high_x > left - margin)
        & (low_x < right + margin)
        & (high_y > bottom - margin)
        & (low_y < top + margin)
    )
    hit = np.zeros(len(chosen), dtype=bool)
    for offset_x, offset_y in view.samples:
        in_x = np.floor(high_x + (margin - offset_x)) >= np.ceil(low_x - (margin + offset_x))
        in_y = np.floor(high_y + (margin - offset_y)) >= np.ceil(low_y - (margin + offset_y))
        hit |= in_x & in_y
    seen = inside & hit
    if not backs:
        (x0, x1, x2), (y0, y1, y2) = xs[:, chosen], ys[:, chosen]
        twice_area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        extent = np.maximum(high_x - low_x, high_y - low_y)
        # Rounding can turn a sliver round, and so can a rotation within the slack a steep one.
        seen &= twice_area > -(ROUNDING * extent + 0.02 * extent * extent)
    found = chosen[seen]
    if any_close:
        # A point beside or behind the camera has no image: such triangles are kept, unless all of
        # it lies behind.
        near_faces = close[faces].any(axis=0)
        behind = (depth < view.near / 2 - slack)[faces].all(axis=0)
        found = np.union1d(found[~near_faces[found]], np.flatnonzero(near_faces & ~behind))
    return found


def _meets(low: np.ndarray, high: np.ndarray, lattice: int, margin: float) -> np.ndarray:
    """Whether an interval holds a row or column of samples, at (k + 1/2) / ``lattice``."""
    scale, reach = np.float32(lattice), lattice * margin
    last = np.floor(high * scale + np.float32(reach - 0.5))
    return last >= np.ceil(low * scale - np.float32(reach + 0.5))


def _window(view: View, corners: np.ndarray) -> tuple[float, float, float, float] | None:
    """The part of the image (left, bottom, right, top) that a rectangle may fill, if any."""
    depth = -corners[:, 2]
    width, height = view.size
    if (depth < 2 * view.near).any():
        return 0.0, 0.0, float(width), float(height)
    x = corners[:, 0] / depth * view.focal + width / 2
    y = corners[:, 1] / depth * view.focal + height / 2
    left, right = max(0.0, x.min() - 1), min(float(width), x.max() + 1)
    bottom, top = max(0.0, y.min() - 1), min(float(height), y.max() + 1)
    return (left, bottom, right, top) if left < right and bottom < top else None
