"""Before it is trained on: the dataset's gripper is LIBERO's, and its images stand the right way
up."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lerobot.datasets import LeRobotDataset

from wmvla.data.opening import open_dataset
from wmvla.errors import UserError
from wmvla.recipe import Environment
from wmvla.train import libero_data
from wmvla.train.libero_data import refuse_other_gripper, refuse_turned_images, turns

SIZE = 32
ENVIRONMENT = Environment(suite="libero_object", tasks=(7,), image_size=SIZE, max_steps=8)
SENTENCE, OTHER = "pick up the milk and place it in the basket", "push the plate"
CAMERAS = ("image", "image2")


def scene(camera: str, moved: int = 0, size: int = SIZE) -> np.ndarray:
    """A dark wall above a bright table, with an object at a place; no side is another's mirror."""
    picture = np.full((size, size, 3), 60 if camera == "image" else 20, np.uint8)
    picture[size // 2 :] = (180, 150, 120)
    picture[3 * size // 4 :, size // 8 + moved : size // 4 + moved] = (10, 200, 30)
    return picture


def turned(image: np.ndarray) -> np.ndarray:
    return image[::-1, ::-1]


def upside_down(image: np.ndarray) -> np.ndarray:
    return image[::-1]


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., tuple]:
    """Three episodes of four frames, the first of another task, opened as for training."""

    def make(
        gripper: Callable[[np.ndarray], np.ndarray] = lambda action: action,
        **change: Callable[[np.ndarray], np.ndarray],
    ) -> tuple:
        image = {
            "dtype": "image",
            "shape": (SIZE, SIZE, 3),
            "names": ["height", "width", "channel"],
        }
        numbers = {"observation.state": 8, "action": 7}
        dataset = LeRobotDataset.create(
            "a/b",
            20,
            {
                **{f"observation.images.{name}": image for name in CAMERAS},
                **{
                    key: {"dtype": "float32", "shape": (width,), "names": None}
                    for key, width in numbers.items()
                },
            },
            root=tmp_path / "dataset",
            use_videos=False,
        )
        draws = np.random.default_rng(0)
        for episode, sentence in enumerate((OTHER, SENTENCE, SENTENCE)):
            for frame in range(4):
                action = draws.uniform(-1, 1, 7).astype(np.float32)
                action[6] = gripper(np.float32(-1 if frame < 2 else 1))
                images = {
                    f"observation.images.{name}": change.get(name, np.asarray)(
                        scene(name, 8 if sentence is OTHER else episode)
                    ).copy()
                    for name in CAMERAS
                }
                state = draws.normal(size=8).astype(np.float32)
                row = {"observation.state": state, "action": action, "task": sentence}
                dataset.add_frame({**images, **row})
            dataset.save_episode()
        dataset.finalize()
        return open_dataset("a/b", tmp_path / "dataset")

    return make


def test_liberos_gripper_is_taken(made: Callable) -> None:
    refuse_other_gripper(*made())


@pytest.mark.parametrize(
    ("gripper", "said"),
    [
        (lambda value: (value + 1) / 2, r"goes from 0 to 1 \(min 0, max 1\)"),
        (lambda value: (1 - value) / 2, r"goes from 0 to 1 \(min 0, max 1\)"),
        (lambda value: -value, "is positive in the first frame of 3 of 3 episodes"),
    ],
)
def test_another_gripper_is_refused(made: Callable, gripper: Callable, said: str) -> None:
    with pytest.raises(UserError, match=f"^dataset a/b: action 6, the gripper, {said}") as caught:
        refuse_other_gripper(*made(gripper))
    assert "\n" not in str(caught.value)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator draws the scene at twice the dataset's size."""
    images = {name: scene(name, 2, 2 * SIZE) for name in CAMERAS}
    monkeypatch.setattr(libero_data, "drawn_first", lambda *_: images)
    monkeypatch.setattr(libero_data, "sentence", lambda *_: SENTENCE)


def test_images_that_stand_the_same_way_up_are_taken(made: Callable, drawn: None) -> None:
    figures = refuse_turned_images(*made(), ENVIRONMENT, 0, 1000)
    assert list(figures) == list(CAMERAS)
    for found in figures.values():
        assert list(found) == ["as it is", "turned by 180 degrees", "upside down"]
        assert found["as it is"] < 5 < min(found["turned by 180 degrees"], found["upside down"])
    assert json.loads(json.dumps(figures)) == figures


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize(
    ("change", "way"), [(turned, "turned by 180 degrees"), (upside_down, "upside down")]
)
def test_a_turned_camera_is_refused_by_name(
    made: Callable, drawn: None, camera: str, change: Callable, way: str
) -> None:
    opened = made(**{camera: change})
    with pytest.raises(
        UserError, match=rf"^dataset a/b: the images of {camera} are LIBERO's {way}"
    ):
        refuse_turned_images(*opened, ENVIRONMENT, 0, 1000)


def test_noise_is_nobodys_turned_image() -> None:
    draws = np.random.default_rng(1)
    image, *stored = draws.integers(0, 256, (4, 64, 64, 3), np.uint8)
    found = turns(image, np.stack(stored))
    assert 2 * min(found.values()) > found["as it is"]
