"""The engine: every row once, whatever happens to the simulators; only the frames that are read are drawn."""

import dataclasses
import time

import numpy as np
import pytest

from wmvla.errors import UserError
from wmvla.recipe import Environment
from wmvla.rollout import engine
from wmvla.rollout.engine import roll_out
from wmvla.rollout.episode import Query
from wmvla.rollout.worker import Simulators

from .fake import DIE_ONCE, HANG_ONCE, RAISE_ALWAYS, RAISE_ONCE, CountingPolicy, make_fake, row


def play(
    folder,
    rows,
    *,
    workers=2,
    n_action_steps=4,
    world_frames=0,
    cameras=(),
    max_steps=30,
    silence=20.0,
    policy=None,
    film=False,
    on_film=None,
):
    """Records by row index, and the policy."""
    environment = Environment(suite=str(folder), tasks=(0,), image_size=2, max_steps=max_steps)
    simulators = Simulators(environment, n_action_steps, world_frames, cameras, make_fake, film)
    policy, records = policy or CountingPolicy(n_action_steps), {}

    def on_episode(episode, record):
        assert episode.index not in records, "an episode was recorded twice"
        records[episode.index] = record

    roll_out(rows, policy, simulators, workers, on_episode, silence, on_film)
    return records, policy


def without_clock(record):
    return dataclasses.replace(record, seconds=0, cpu_seconds=0)


def test_results_do_not_depend_on_the_number_of_workers(tmp_path):
    rows = [row(index) for index in range(9)]
    one, _ = play(tmp_path, rows, workers=1)
    two, _ = play(tmp_path, rows[::-1], workers=2)
    assert {i: without_clock(r) for i, r in one.items()} == {i: without_clock(r) for i, r in two.items()}
    assert sorted(one) == list(range(9))
    assert {record.success for record in one.values()} == {True, False}


def test_an_episode_ends_at_success_or_at_the_last_step(tmp_path):
    records, _ = play(tmp_path, [row(index) for index in range(7)])
    for index, record in records.items():
        gain = (1000 + index) % 7 / 64
        needed = next((n for n in range(1, 31) if sum([gain] * n) >= 1), None)
        assert record.success == (needed is not None)
        assert record.steps == (needed or 30)
        assert record.queries == -(-record.steps // 4)
        assert record.cpu_seconds >= 0.25 * record.queries


def test_a_film_shows_every_step_and_changes_nothing(tmp_path):
    plain, _ = play(tmp_path, [row(5)])
    films = {}
    records, policy = play(tmp_path, [row(5)], film=True, on_film=lambda row, frames: films.update({row.index: frames}))
    steps = records[5].steps
    assert films[5].shape == (steps + 1, 2, 2, 3)
    assert films[5][:, 0, 0, 0].tolist() == list(range(steps + 1)), "of the front camera"
    assert records[5].renders > plain[5].renders
    assert dataclasses.replace(without_clock(records[5]), renders=0) == dataclasses.replace(without_clock(plain[5]), renders=0)
    assert [int(query.images["image"][0, 0, 0]) for query in policy.queries] == [query.step for query in policy.queries]


def test_without_memory_only_query_frames_are_drawn(tmp_path):
    records, policy = play(tmp_path, [row(1)], max_steps=30)
    assert records[1].steps == 30
    assert records[1].renders == 2 * records[1].queries
    assert (records[1].reset, records[1].policy_batch) == ("cheap", 1)
    assert all(query.frames is None for query in policy.queries)
    assert [int(query.images["image"][0, 0, 0]) for query in policy.queries] == list(range(0, 30, 4))


@pytest.mark.parametrize("cameras", [("image",), ("image2",), ("image", "image2")])
@pytest.mark.parametrize(("n_action_steps", "world_frames"), [(4, 3), (4, 4), (4, 7), (1, 7), (8, 7)])
def test_a_query_carries_the_last_consecutive_frames(tmp_path, n_action_steps, world_frames, cameras):
    """The fake's images are 100 brighter from the second camera."""
    records, policy = play(tmp_path, [row(1)], n_action_steps=n_action_steps, world_frames=world_frames, cameras=cameras)
    drawn = set()
    for query in policy.queries:
        now = query.number * n_action_steps
        steps = [max(0, step) for step in range(now - world_frames + 1, now + 1)]
        drawn |= {(camera, step) for camera in cameras for step in steps} | {(camera, now) for camera in ("image", "image2")}
        assert query.frames.shape == (len(cameras), world_frames, 2, 2, 3)
        for camera, frames in zip(cameras, query.frames, strict=True):
            assert (frames[:, 0, 0, 0] - 100 * (camera == "image2")).tolist() == steps
    assert records[1].renders == len(drawn), "only what a query reads is drawn"


def test_broken_simulators_are_replaced_and_no_episode_is_lost(tmp_path):
    rows = [row(0), row(1, RAISE_ONCE), row(2, DIE_ONCE), row(3, HANG_ONCE), row(4, RAISE_ALWAYS), row(5)]
    records, _ = play(tmp_path, rows, silence=8.0)
    assert sorted(records) == [0, 1, 2, 3, 4, 5]
    assert [records[i].status for i in range(6)] == ["ok", "ok", "ok", "ok", "error", "ok"]
    assert records[4].error == "RuntimeError: the gripper fell off"
    assert not records[4].success


def test_a_slow_policy_does_not_make_its_simulators_look_hung(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "TRIES", 1)

    class SlowPolicy(CountingPolicy):
        def act(self, queries):
            time.sleep(1.5)
            return super().act(queries)

    records, _ = play(tmp_path, [row(index) for index in range(3)], max_steps=4, silence=1.0, policy=SlowPolicy(4))
    assert {record.status for record in records.values()} == {"ok"}
    assert len(records) == 3


def test_simulators_that_never_play_end_the_run_in_one_line(tmp_path):
    with pytest.raises(UserError, match="No simulator can play: RuntimeError: the gripper fell off") as caught:
        play(tmp_path, [row(0, RAISE_ALWAYS)])
    assert "\n" not in str(caught.value)


def test_the_policy_draws_from_the_episode_stream_alone(toy, tmp_path):
    from wmvla.rollout.policy import RolloutPolicy
    from wmvla.train.loop import train

    from ..conftest import SIZE

    base = train(toy.scratch_job(tmp_path / "base"))
    world = toy.scratch_job(tmp_path / "E2", scratch=None, base=str(base), world=toy.world)
    checkpoint = train(world)
    draws = np.random.default_rng(0)
    images = {name: draws.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for name in ("image", "image2")}
    for mode in ("pred", "zero", "random", "hold", "history"):
        policy = RolloutPolicy(checkpoint, mode, 2, "cpu")
        assert (policy.world_frames, policy.world_cameras) == ((0, ()) if mode in ("zero", "random") else (7, ("image",)))
        frames = np.stack([[images["image"]] * 7]) if policy.world_frames else None

        def query(episode, number, frames=frames):
            return Query(row(episode), number, 2 * number, "pick up the milk", np.zeros(8, np.float32), images, frames)

        def actions(query, policy=policy):
            (answer,) = policy.act([query])
            return answer.actions

        first = actions(query(0, 0))
        actions(query(1, 0))
        assert np.array_equal(first, actions(query(0, 0)))
        assert not np.array_equal(first, actions(query(0, 1)))
        assert not np.array_equal(first, actions(query(1, 0)))
        assert first.shape == (2, 7)
