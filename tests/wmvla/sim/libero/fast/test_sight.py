"""Triangles in sight: none that colours a sample is ever left out, and of tiny ones most are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wmvla.sim.libero.fast.sight import Mirror, View, boxes_in_sight, faces_in_sight

SAMPLES = np.array([[0.375, 0.125], [0.875, 0.375], [0.125, 0.625], [0.625, 0.875]])


def view(size=32, slope=0.5, near=0.01):
    return View(slope, (size, size), near, SAMPLES, lattice=4)


def coloured(look: View, corners: np.ndarray, *, backs: bool = False) -> bool:
    """By trying every sample of the image: does a triangle (3, 3) in front of the camera cover one,
    and face it?"""
    width, height = look.size
    points = np.stack([corners[:, 0], corners[:, 1]], 1) / -corners[:, 2:] * look.focal + [
        width / 2,
        height / 2,
    ]
    grid = (
        np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 1, 2)
        + look.samples
    )
    grid = grid.reshape(-1, 2)
    sides = []
    for start, end in ((0, 1), (1, 2), (2, 0)):
        edge, to = points[end] - points[start], grid - points[start]
        sides.append(edge[0] * to[:, 1] - edge[1] * to[:, 0])
    inside = np.all([side >= 0 for side in sides], axis=0)
    if backs:
        inside |= np.all([side <= 0 for side in sides], axis=0)
    return bool(inside.any())


@st.composite
def triangles(draw):
    """Forty triangles of one size, somewhere before, beside or partly behind the camera."""
    draws = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.sampled_from([0.001, 0.01, 0.1, 1.0]))
    centres = draws.uniform([-1.2, -1.2, -2.5], [1.2, 1.2, -0.3], (40, 1, 3))
    return (centres + draws.normal(0, size, (40, 3, 3))).clip(max=[9, 9, -0.05])


def ask(look, corners, slack=0.0, mirror=None):
    vertices = np.ascontiguousarray(corners.reshape(-1, 3).T, np.float32)
    faces = np.arange(corners.shape[0] * 3).reshape(-1, 3).T
    return faces_in_sight(look, vertices, faces, slack, mirror)


@settings(max_examples=60, deadline=None)
@given(triangles())
def test_a_triangle_that_covers_a_sample_is_in_sight(corners):
    look = view()
    needed = {index for index, triangle in enumerate(corners) if coloured(look, triangle)}
    assert needed <= set(ask(look, corners).tolist())


@settings(max_examples=40, deadline=None)
@given(triangles(), st.integers(0, 2**32 - 1))
def test_also_after_the_mesh_has_moved_within_the_slack(corners, seed):
    look, slack = view(), 2e-3
    seen = set(ask(look, corners, slack).tolist())
    direction = np.random.default_rng(seed).normal(size=3)
    moved = corners + slack * direction / np.linalg.norm(direction)
    assert {index for index, triangle in enumerate(moved) if coloured(look, triangle)} <= seen


@settings(max_examples=40, deadline=None)
@given(triangles())
def test_what_a_mirror_shows_is_in_sight_too(corners):
    look = view()
    mirror = Mirror(
        np.array([0, -0.5, -1.0]),
        np.array([0, 1.0, 0]),
        np.array([[x, -0.5, z] for x in (-0.4, 0.4) for z in (-1.4, -0.6)]),
    )
    seen = set(ask(look, corners, mirror=mirror).tolist())
    for index, triangle in enumerate(corners):
        image = mirror.reflected(triangle.T).T
        # Only what falls on the mirror's own part of the image is drawn; a margin keeps the test
        # away from its rim.
        x, y = (image[:, :2] / -image[:, 2:] * look.focal + 16).T
        left, right = 16 - 0.3 / 1.4 * look.focal, 16 + 0.3 / 1.4 * look.focal
        bottom, top = 16 - 0.5 / 0.7 * look.focal, 16 - 0.5 / 1.3 * look.focal
        within = x.min() > left and x.max() < right and y.min() > bottom and y.max() < top
        if (image[:, 2] < -0.05).all() and within and coloured(look, image, backs=True):
            assert index in seen


@settings(max_examples=60, deadline=None)
@given(triangles())
def test_a_box_around_a_triangle_that_covers_a_sample_is_in_sight(corners):
    look = view()
    boxes = np.array(
        [
            [
                [low[0] if x else high[0], low[1] if y else high[1], low[2] if z else high[2]]
                for x in (0, 1)
                for y in (0, 1)
                for z in (0, 1)
            ]
            for low, high in zip(corners.min(1), corners.max(1), strict=True)
        ]
    )
    found = boxes_in_sight(look, boxes)
    assert all(found[index] for index, triangle in enumerate(corners) if coloured(look, triangle))


@pytest.mark.parametrize(("size", "most"), [(32, 0.15), (256, 0.6)])
def test_most_triangles_of_a_fine_mesh_are_left_out(size, most):
    draws = np.random.default_rng(0)
    corners = draws.uniform([-0.3, -0.3, -1.1], [0.3, 0.3, -0.9], (2000, 1, 3)) + draws.normal(
        0, 0.001, (2000, 3, 3)
    )
    assert 0 < len(ask(view(size), corners)) < most * len(corners)


def test_a_triangle_across_the_near_plane_is_kept_and_one_behind_it_not():
    across = np.array([[[0, 0, -1.0], [1, 0, 0.5], [0, 1, 0.5]]])
    behind = np.array([[[0, 0, 1.0], [1, 0, 0.5], [0, 1, 0.5]]])
    assert ask(view(), across).tolist() == [0]
    assert ask(view(), behind).tolist() == []
