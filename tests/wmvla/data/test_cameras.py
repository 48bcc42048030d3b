"""Front and wrist by name, whatever the order."""

import pytest

from wmvla.data.cameras import world_cameras
from wmvla.errors import UserError


@pytest.mark.parametrize(
    ("front", "wrist", "others"),
    [
        ("image", "image2", []),
        ("camera1", "camera2", ["camera3"]),
        ("front", "wrist", []),
        ("agentview", "robot0_eye_in_hand", []),
        ("image", "wrist_image", []),
        ("top", "gripper_cam", []),
        ("front", "wrist", ["side"]),
        ("front", None, []),
        ("front", None, ["image2"]),
        ("camera_1", "camera_10", []),
    ],
)
def test_names_decide(front: str, wrist: str | None, others: list[str]) -> None:
    keys = [f"observation.images.{name}" for name in (*others, wrist, front) if name]
    found = [f"observation.images.{name}" for name in (front, wrist) if name]
    for order in (keys, keys[::-1]):
        assert world_cameras(order, "front", "it") == found[:1]
        if wrist:
            assert world_cameras(order, "wrist", "it") == found[1:]
            assert world_cameras(order, "both", "it") == found


@pytest.mark.parametrize(
    ("names", "camera"),
    [
        (["left", "right"], "front"),
        (["left_wrist", "right_wrist"], "wrist"),
        (["front"], "wrist"),
        (["front", "agentview"], "front"),
        (["wrist"], "front"),
    ],
)
def test_names_that_decide_nothing_are_refused(names: list[str], camera: str) -> None:
    keys = [f"observation.images.{name}" for name in names]
    with pytest.raises(UserError, match=rf"world_camera = '{camera}', but the names .*{names[0]}"):
        world_cameras(keys, camera, "it")
