"""The control scenes: what is drawn by counter, what one frame tells and what it hides, and who
catches the ball."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wmvla.errors import UserError
from wmvla.recipe import Demonstrations, Environment
from wmvla.sim.control import scenes
from wmvla.sim.control.recording import expert_action, record
from wmvla.sim.control.scenes import (
    BOUNCE,
    BOUNCING_DIRECTIONS,
    CATCH,
    DIRECTIONS,
    MARK,
    RELEASE,
    SCENES,
    STEPS,
    TOLERANCE,
    WALL,
    Draw,
    draw_scene,
)
from wmvla.sim.suites import make_simulation

DEMONSTRATIONS = Demonstrations("x", "expert", inits=(0,), push_strength=0.0)
NOTHING = frozenset()
STILL = np.zeros(2, np.float32)


def environment(suite: str = CATCH, **changes) -> Environment:
    return dataclasses.replace(Environment(suite, (0,), image_size=64, max_steps=STEPS), **changes)


@pytest.fixture(scope="module")
def catch():
    simulation = make_simulation(environment(), 0)
    yield simulation
    simulation.close()


@pytest.fixture(scope="module")
def bounce():
    simulation = make_simulation(environment(BOUNCE), 0)
    yield simulation
    simulation.close()


@pytest.fixture(scope="module")
def mark():
    simulation = make_simulation(environment(MARK), 0)
    yield simulation
    simulation.close()


def frames(simulation, draw: Draw, monkeypatch) -> list[np.ndarray]:
    """What the camera shows of ``draw`` from t = 0 to the end, with a paddle that is not moved."""
    monkeypatch.setattr("wmvla.sim.control.env.draw_scene", lambda *_: draw)
    seen = [simulation.reset(0, 0).images["image"]]
    return [*seen, *(simulation.step(STILL).observation.images["image"] for _ in range(STEPS))]


@settings(max_examples=50)
@given(
    name=st.sampled_from(SCENES),
    init=st.integers(0, scenes.NUMBER_OF_INITS - 1),
    env_seed=st.integers(0, 2**32 - 1),
)
def test_a_draw_depends_on_its_two_numbers_alone(name: str, init: int, env_seed: int) -> None:
    draw = draw_scene(name, init, env_seed)
    np.random.random(3)
    assert draw_scene(name, init, env_seed) == draw
    assert draw_scene(name, init, env_seed + 1) != draw
    assert draw_scene(name, (init + 1) % scenes.NUMBER_OF_INITS, env_seed).hash() != draw.hash()
    assert abs(draw.middle) <= scenes.MIDDLE_SPREAD
    assert draw.direction in (BOUNCING_DIRECTIONS if name == BOUNCE else DIRECTIONS)


def test_a_draw_is_what_it_always_was() -> None:
    """Journals of older runs hold these."""
    assert [draw_scene(name, 1000, 1100).hash() for name in (CATCH, MARK)] == [
        "bc593ba6b4804130",
        "bc593ba6b4804130",
    ]


def test_where_the_ball_is_in_the_middle_tells_nothing_of_where_it_goes() -> None:
    draws = [draw_scene(CATCH, init, 7) for init in range(3000)]
    middle, direction = (
        np.array([getattr(draw, name) for draw in draws]) for name in ("middle", "direction")
    )
    for one in DIRECTIONS:
        assert abs((direction == one).mean() - 1 / 3) < 0.04
        assert abs(middle[direction == one].mean()) < 0.01
    assert abs(np.corrcoef(middle, direction)[0, 1]) < 0.06
    assert abs(np.corrcoef([draw.paddle[0] for draw in draws], direction)[0, 1]) < 0.06


def test_where_a_bouncing_ball_is_in_the_middle_and_to_which_side_it_flies_tell_nothing_of_where_it_arrives() -> (
    None
):
    draws = [draw_scene(BOUNCE, init, 7) for init in range(3000)]
    middle, direction, arrival = np.array(
        [(draw.middle, draw.direction, draw.ball(STEPS)[1]) for draw in draws]
    ).T
    for one in BOUNCING_DIRECTIONS:
        assert abs((direction == one).mean() - 1 / 6) < 0.03
    assert abs(np.corrcoef(middle, direction)[0, 1]) < 0.06
    place = np.round(arrival / 0.6)
    assert all(
        abs((place[np.sign(direction) == side] == here).mean() - 1 / 3) < 0.05
        for side in (-1, 1)
        for here in (-1, 0, 1)
    )


@given(middle=st.floats(-0.1, 0.1), direction=st.sampled_from(BOUNCING_DIRECTIONS))
def test_a_bouncing_ball_stays_between_the_walls_and_keeps_its_speed(
    middle: float, direction: float
) -> None:
    path = np.array(
        [Draw(middle, direction, (0.0, 0.0), bounces=True).ball(t)[1] for t in range(STEPS + 1)]
    )
    assert (abs(path) <= WALL + 1e-9).all()
    assert path[RELEASE] == pytest.approx(middle)
    moved = abs(np.diff(path))
    assert (moved <= abs(direction) + 1e-9).all()
    assert (moved < abs(direction) - 1e-9).sum() <= 4, "only a step in which it bounces is shorter"


@pytest.mark.parametrize("name", [CATCH, BOUNCE])
@pytest.mark.parametrize("middle", [-scenes.MIDDLE_SPREAD, 0.0, scenes.MIDDLE_SPREAD])
def test_no_paddle_reaches_two_arrival_points(name: str, middle: float) -> None:
    """Of one place in the middle; bouncing balls of two directions arrive in each third, 0.2 apart
    at most."""
    directions = BOUNCING_DIRECTIONS if name == BOUNCE else DIRECTIONS
    arrivals = np.array(
        [
            Draw(middle, direction, (0.0, 0.0), name == BOUNCE).ball(STEPS)[1]
            for direction in directions
        ]
    )
    third = np.round(arrivals / 0.6).astype(int)
    assert np.bincount(third + 1).tolist() == [len(directions) / 3] * 3
    apart = abs(arrivals[:, None] - arrivals[None])
    assert (apart[third[:, None] != third[None]] >= 2 * TOLERANCE - 1e-9).all()


def test_the_frame_at_the_release_hides_the_direction_and_the_frames_before_show_it(
    catch, monkeypatch
) -> None:
    up, down = (
        frames(catch, Draw(0.03, direction, (0.7, 0.0)), monkeypatch)
        for direction in (DIRECTIONS[0], DIRECTIONS[2])
    )
    assert np.array_equal(up[RELEASE], down[RELEASE])
    assert all((up[t] != down[t]).any() for t in range(STEPS + 1) if t != RELEASE)


def test_the_frame_at_the_release_hides_how_fast_a_bouncing_ball_is(bounce, monkeypatch) -> None:
    slow, fast = (
        frames(bounce, Draw(0.03, speed, (0.7, 0.0), bounces=True), monkeypatch)
        for speed in (0.05, 0.15)
    )
    assert np.array_equal(slow[RELEASE], fast[RELEASE])
    assert all((slow[t] != fast[t]).any() for t in range(RELEASE - 6, RELEASE))


def test_the_mark_shows_it_in_every_frame(mark, catch, monkeypatch) -> None:
    up, down = (
        frames(mark, Draw(0.03, direction, (0.7, 0.0)), monkeypatch)
        for direction in (DIRECTIONS[0], DIRECTIONS[2])
    )
    assert all((one != other).any() for one, other in zip(up, down, strict=True))
    plain = frames(catch, Draw(0.03, DIRECTIONS[0], (0.7, 0.0)), monkeypatch)
    yellow = [
        np.argwhere((image > (200, 190, 0)).all(-1) & (image[..., 2] < 120))
        for image in (up[0], down[0], plain[0])
    ]
    assert len(yellow[0]) > 4
    assert abs(yellow[0][:, 0].mean() - yellow[1][:, 0].mean()) > 20  # rows of pixels
    assert not len(yellow[2])


def test_the_paddle_is_latched_until_the_release_and_then_moves_as_it_is_told(catch) -> None:
    first = catch.reset(3, 4).state
    for _ in range(RELEASE):
        result = catch.step(np.ones(2, np.float32), NOTHING)
        assert np.array_equal(result.observation.state, first)
    state = catch.step(np.array([0.5, -3.0], np.float32), NOTHING).observation.state
    np.testing.assert_allclose(state - first, [0.035, -0.07], atol=1e-6)


@pytest.mark.parametrize(("share", "caught"), [(0.99, True), (1.01, False)])
def test_a_ball_is_caught_within_reach_and_at_the_last_step_alone(
    catch, monkeypatch, share: float, caught: bool
) -> None:
    monkeypatch.setattr(
        "wmvla.sim.control.env.draw_scene",
        lambda *_: Draw(0.0, 0.0, (scenes.LAST_X, share * TOLERANCE)),
    )
    catch.reset(0, 0, NOTHING)
    told = [catch.step(STILL, NOTHING).success for _ in range(STEPS)]
    assert told == [False] * (STEPS - 1) + [caught]


def test_an_episode_is_the_same_whenever_it_is_played_and_draws_on_demand(catch, mark) -> None:
    def play() -> list[bytes]:
        parts = [catch.reset(8, 9).images["image"].tobytes(), catch.scene_hash().encode()]
        for _ in range(STEPS):
            result = catch.step(
                expert_action(catch), NOTHING if catch.time % 2 else frozenset({"image"})
            )
            parts += [
                result.observation.state.tobytes(),
                *(image.tobytes() for image in result.observation.images.values()),
            ]
        return parts

    drawn = catch.renders
    first = play()
    assert catch.renders - drawn == 1 + STEPS // 2
    mark.reset(1, 2)  # another renderer becomes the current one
    catch.reset(5, 6)
    catch.step(STILL)
    assert play() == first


@pytest.mark.parametrize("suite", SCENES)
def test_the_expert_solves_every_initial_state_and_its_record_is_what_was_played(
    catch, bounce, mark, suite: str
) -> None:
    simulation = {CATCH: catch, BOUNCE: bounce, MARK: mark}[suite]
    for init in range(40):
        episode = record(simulation, DEMONSTRATIONS, init)
        assert simulation.distance() < 1e-3
    assert {name: array.shape for name, array in episode.items()} == {
        "state": (STEPS, 2), "action": (STEPS, 2), "attempt": (), "image": (STEPS, 64, 64, 3),
    }  # fmt: skip
    assert not episode["action"][:RELEASE].any()
    np.testing.assert_allclose(
        np.diff(episode["state"][RELEASE:], axis=0), 0.07 * episode["action"][RELEASE:-1], atol=1e-5
    )


def test_who_never_moves_catches_about_a_third(catch) -> None:
    caught = 0
    for init in range(300):
        catch.reset(init, 77, NOTHING)
        for _ in range(STEPS):
            success = catch.step(STILL, NOTHING).success
        caught += success
    assert 60 < caught < 140


@pytest.mark.parametrize(
    ("changes", "task", "told"),
    [
        (
            {"suite": "control_cach"},
            0,
            (
                "no control scene 'control_cach': environment.suite takes control_catch,"
                " control_bounce, control_mark"
            ),
        ),
        ({}, 1, "control_catch has no task 1: environment.tasks takes 0"),
        (
            {"max_steps": 23},
            0,
            "environment.max_steps is 23: in control_catch the ball arrives after 24",
        ),
    ],
)
def test_what_there_is_not_is_refused(changes: dict, task: int, told: str) -> None:
    with pytest.raises(UserError, match=told):
        make_simulation(environment(**changes), task)


def test_an_initial_state_out_of_range_and_pushes_are_refused(catch) -> None:
    with pytest.raises(UserError, match="no initial state -1: inits take 0 to 999999"):
        catch.reset(-1, 0)
    with pytest.raises(UserError, match=r"demonstrations.push_strength is 1.5.*set it to 0"):
        record(catch, dataclasses.replace(DEMONSTRATIONS, push_strength=1.5), 0)
