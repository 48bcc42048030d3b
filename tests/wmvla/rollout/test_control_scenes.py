"""The control scenes through the real engine: seven frames tell where the ball arrives, the last
one alone does not."""

from collections.abc import Sequence

import numpy as np
import pytest

from wmvla.recipe import Environment, EpisodeRow
from wmvla.rollout.engine import roll_out
from wmvla.rollout.episode import Answer, EpisodeRecord, Query
from wmvla.rollout.worker import Simulators
from wmvla.sim.control.scenes import (
    CATCH,
    LANGUAGE,
    MARK,
    PADDLE_REACH,
    RELEASE,
    SPEED_X,
    STEPS,
    draw_scene,
)
from wmvla.sim.suites import make_simulation

FRAMES = 7
"""Of T = 4 latents of m = 4 frames each."""
METRES_PER_PIXEL = 2 * (2.6 - 0.1) * np.tan(np.pi / 8) / 64
"""At the ball's height under the camera."""
RED, YELLOW = ((150, 0, 0), (255, 130, 110)), ((180, 170, 0), (255, 255, 130))
ROWS = [EpisodeRow(index, CATCH, 0, 500 + index, 40 + index, index, 0) for index in range(60)]


def place(image: np.ndarray, colour: tuple) -> np.ndarray | None:
    """Where (x, y) in metres the pixels of that colour lie, None without any."""
    found = np.argwhere(((image >= colour[0]) & (image <= colour[1])).all(-1))
    return (found.mean(0)[::-1] - 31.5) * METRES_PER_PIXEL * [1, -1] if len(found) else None


class Extrapolating:
    """Sends the paddle to where the ball arrives if it goes on as in the frames that it is shown;
    by the mark, where one is."""

    largest_batch = 4

    def __init__(self, remembers: bool) -> None:
        self.remembers = remembers

    def act(self, queries: Sequence[Query]) -> list[Answer]:
        return [Answer(self._actions(query), 0.0) for query in queries]

    def _actions(self, query: Query) -> np.ndarray:
        assert (query.number, query.step) in ((0, 0), (1, RELEASE))
        assert query.language == LANGUAGE
        last = query.images["image"]
        ball, mark = place(last, RED), place(last, YELLOW)
        across = ball[1]
        if mark is not None:
            across = mark[1]
        elif self.remembers:
            assert query.frames.shape == (1, FRAMES, 64, 64, 3)
            assert np.array_equal(query.frames[0, -1], last)
            across += (
                (ball - place(query.frames[0, 0], RED))[1] * (STEPS - query.step) / (FRAMES - 1)
            )
        way = np.array([ball[0] + SPEED_X * (STEPS - query.step), across]) - query.state
        return np.tile(way / (STEPS - RELEASE) / PADDLE_REACH, (RELEASE, 1))


def play(scene: str, remembers: bool, workers: int) -> dict[int, EpisodeRecord]:
    records = {}
    simulators = Simulators(
        Environment(scene, (0,), 64, STEPS),
        FRAMES if remembers else 0,
        ("image",) if remembers else (),
        make_simulation,
    )
    roll_out(
        ROWS,
        Extrapolating(remembers),
        simulators,
        workers,
        lambda row, record: records.update({row.index: record}),
    )
    assert {record.status for record in records.values()} == {"ok"}
    return records


@pytest.mark.parametrize(
    ("scene", "remembers", "fewest", "most"),
    [(CATCH, True, 60, 60), (CATCH, False, 10, 30), (MARK, False, 60, 60)],
)
def test_who_remembers_catches_every_ball_and_who_does_not_a_third(
    scene: str, remembers: bool, fewest: int, most: int
) -> None:
    records = play(scene, remembers, workers=2)
    assert fewest <= sum(record.success for record in records.values()) <= most
    for row in ROWS:
        record = records[row.index]
        assert (record.steps, record.queries, record.reset) == (STEPS, 2, "cheap")
        assert record.scene_hash == draw_scene(scene, row.init, row.env_seed).hash()
        assert record.renders == (8 if remembers else 2), (
            "the first image, and those that the second query reads"
        )


def test_episodes_do_not_depend_on_who_plays_them() -> None:
    one, two = play(CATCH, True, workers=1), play(CATCH, True, workers=2)
    assert [one[row.index].success for row in ROWS] == [two[row.index].success for row in ROWS]
