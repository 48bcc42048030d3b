"""Our simulation against LeRobot's own environment: number for number, in real LIBERO."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.wmvla.sim.libero.stock import StockLibero
from wmvla.errors import UserError
from wmvla.recipe import Environment
from wmvla.sim.libero.env import LiberoSimulation
from wmvla.sim.libero.fast.cameras import ALL, NONE
from wmvla.sim.observation import Observation

STEPS = 20
MINI = ("libero_object", 7)
DRAWER = ("libero_spatial", 4)
"""Its drawer starts open: LIBERO draws that from ``np.random`` before it places the fixtures."""
STOVE = ("libero_goal", 7)
"""Its stove shows a burner when it is on, which an episode writes into the model."""

Episode = list[tuple[Observation, bool]]
OpenSimulation = Callable[[str, int], LiberoSimulation]


def _actions() -> np.ndarray:
    actions = np.random.default_rng(0).uniform(-1, 1, size=(STEPS, 7))
    actions[STEPS // 2 :, 6] = 1.0
    return actions


def _wants() -> list[frozenset[str]]:
    cameras = np.random.default_rng(1).random((STEPS, 2)) < 0.4
    return [
        frozenset(name for name, on in zip(("image", "image2"), row, strict=True) if on)
        for row in cameras
    ]


def _play(simulation: LiberoSimulation, init: int) -> Episode:
    episode = [(simulation.reset(init, env_seed=1000 + init), False)]
    for action, want in zip(_actions(), _wants(), strict=True):
        result = simulation.step(action, want)
        assert set(result.observation.images) == want
        episode.append((result.observation, result.success))
    return episode


def _play_stock(stock: StockLibero, init: int) -> Episode:
    return [
        (stock.reset(init, env_seed=1000 + init), False),
        *(stock.step(action) for action in _actions()),
    ]


def _assert_same(ours: Episode, theirs: Episode) -> None:
    assert len(ours) == len(theirs)
    for (our, our_success), (their, their_success) in zip(ours, theirs, strict=True):
        assert our.state.dtype == np.float32
        np.testing.assert_array_equal(our.state, their.state)
        for name, image in our.images.items():
            np.testing.assert_array_equal(image, their.images[name])
        assert our_success == their_success


@pytest.fixture(params=[MINI, DRAWER, STOVE], ids=lambda task: f"{task[0]}-{task[1]}")
def simulation(request: pytest.FixtureRequest, open_simulation: OpenSimulation) -> LiberoSimulation:
    return open_simulation(*request.param)


# That a reset is the same in the other scenes, too, is the next test's; here each costs 20 CPU s.
@pytest.mark.parametrize(
    "simulation",
    [MINI, *(pytest.param(scene, marks=pytest.mark.slow) for scene in (DRAWER, STOVE))],
    ids=lambda task: f"{task[0]}-{task[1]}",
    indirect=True,
)
def test_equals_the_stock_environment_whatever_was_played_before(
    simulation: LiberoSimulation,
) -> None:
    stock = StockLibero(simulation.environment, simulation.task)
    try:
        # It draws an open drawer once more at every reset: only its first one can be compared.
        expected = _play_stock(stock, 3)
    finally:
        stock.close()
    images_wanted = 2 + sum(len(want) for want in _wants())
    for init in (3, 5, 3):
        before = simulation.renders
        episode = _play(simulation, init)
        assert simulation.renders - before == images_wanted
        if init == 3:
            _assert_same(episode, expected)
    assert simulation.resets_are_cheap


def test_cheap_reset_equals_hard_reset_after_a_disturbed_episode(
    simulation: LiberoSimulation,
) -> None:
    simulation.reset(1, env_seed=7)
    # A long way off: everything thrown about, every slide and knob turned as far as it goes.
    data = simulation.robosuite.sim.data
    data.qvel[:] += np.random.default_rng(2).normal(scale=2.0, size=data.qvel.shape)
    model = simulation.robosuite.sim.model
    for joint in np.flatnonzero(model.jnt_limited):
        if "gripper" not in model.joint_id2name(joint):
            data.qpos[model.jnt_qposadr[joint]] = model.jnt_range[joint, 1]
    for action in _actions():
        simulation.step(action, NONE)
    model.geom_rgba[:, :3] *= 0.5  # As when an episode lights a burner, only more of it.

    disturbed = simulation.scene_hash()
    ends = []
    for cheap in (True, False):
        episode = [(simulation._reset(2, 8, ALL, cheap=cheap), False)]
        settled = simulation.scene_hash()
        for step, action in enumerate(_actions(), start=1):
            result = simulation.step(action, ALL if step == STEPS else NONE)
            episode.append((result.observation, result.success))
        ends.append((settled, simulation.scene_hash(), episode))
    (cheap_settled, cheap_end, cheap_episode), (hard_settled, hard_end, hard_episode) = ends
    assert disturbed != cheap_settled == hard_settled
    assert cheap_end == hard_end
    _assert_same(cheap_episode, hard_episode)


def test_a_cheap_reset_that_is_not_exact_is_not_used(
    open_simulation: OpenSimulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Robosuite's own soft reset keeps the gripper's last command: the check must see it."""
    simulation = open_simulation(*MINI)
    env = simulation.robosuite

    def soft_reset() -> None:
        env.hard_reset = False
        env.reset()

    monkeypatch.setattr(simulation._resets, "cheap", soft_reset)
    assert not simulation._cheap_reset_is_exact(0, 0)


def test_each_scene_draws_with_its_own_renderer(open_simulation: OpenSimulation) -> None:
    simulation, other = open_simulation(*MINI), open_simulation(*STOVE)
    alone = simulation._reset(0, 0, ALL, cheap=False)
    other._reset(0, 0, ALL, cheap=False)
    _assert_same([(simulation._reset(0, 0, ALL, cheap=True), False)], [(alone, False)])


def test_frames_are_as_bright_as_the_pinned_mujoco_draws_them(
    open_simulation: OpenSimulation,
) -> None:
    """From 3.3.3 on MuJoCo darkens libero_object by a quarter, and with it every policy's input."""
    images = open_simulation(*MINI).reset(0, 0).images
    assert images["image"].mean() == pytest.approx(141.0, abs=2)
    assert images["image2"].mean() == pytest.approx(143.3, abs=2)


def test_user_errors_name_what_is_allowed(open_simulation: OpenSimulation) -> None:
    def environment(**changes: object) -> Environment:
        return Environment(
            **{
                "suite": "libero_object",
                "tasks": (7,),
                "image_size": 64,
                "max_steps": 200,
                **changes,
            }
        )

    with pytest.raises(
        UserError, match=r"no suite 'libero_objects'.*libero_object, libero_spatial"
    ):
        LiberoSimulation(environment(suite="libero_objects"), 0)
    with pytest.raises(UserError, match=r"no task 10: environment.tasks takes 0 to 9"):
        LiberoSimulation(environment(), 10)
    with pytest.raises(UserError, match=r"settle_steps is 0"):
        LiberoSimulation(environment(settle_steps=0), 7)
    for init in (-1, 50):
        with pytest.raises(UserError, match=rf"no initial state {init}: inits take 0 to 49"):
            open_simulation(*MINI).reset(init, 0)
