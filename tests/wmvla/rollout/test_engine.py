"""The engine: every row once, whatever happens to the simulators; only the frames that are read are
drawn."""

import dataclasses
import time

import numpy as np
import pytest

from .fake import CountingPolicy, plan_faults, play, row, without_clock


def test_results_do_not_depend_on_the_number_of_workers(tmp_path):
    rows = [row(index) for index in range(9)]
    one, _ = play(tmp_path, rows, workers=1)
    two, _ = play(tmp_path, rows[::-1], workers=2)
    assert {i: without_clock(r) for i, r in one.items()} == {
        i: without_clock(r) for i, r in two.items()
    }
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
    records, policy = play(
        tmp_path, [row(5)], film=True, on_film=lambda row, frames: films.update({row.index: frames})
    )
    steps = records[5].steps
    assert films[5].shape == (steps + 1, 2, 2, 3)
    assert films[5][:, 0, 0, 0].tolist() == list(range(steps + 1)), "of the front camera"
    assert records[5].renders > plain[5].renders
    assert dataclasses.replace(without_clock(records[5]), renders=0) == dataclasses.replace(
        without_clock(plain[5]), renders=0
    )
    assert [int(query.images["image"][0, 0, 0]) for query in policy.queries] == [
        query.step for query in policy.queries
    ]


class Unsound(CountingPolicy):
    """Row 1 gets an action that is not finite at its second query, row 2 none at all at its first."""

    def act(self, queries):
        if any(query.row.index == 2 for query in queries):
            raise FloatingPointError("The world memory is not finite.")
        answers = super().act(queries)
        for query, answer in zip(queries, answers, strict=True):
            if query.row.index == 1 and query.number == 1:
                answer.actions[2, 3] = np.nan
        return answers


@pytest.mark.parametrize("largest_batch", [1, 4])
def test_what_is_not_finite_ends_its_episode_as_an_error_and_no_other(tmp_path, largest_batch):
    plan_faults(tmp_path, {3: ["no finite state"]})
    rows = [row(0), row(1), row(2), row(3, task=3)]
    sound, _ = play(tmp_path, [rows[0]])
    films = {}
    records, _ = play(
        tmp_path, rows, policy=Unsound(4, largest_batch), film=True,
        on_film=lambda episode, frames: films.update({episode.index: frames}),
    )  # fmt: skip
    assert [records[index].status for index in range(4)] == ["ok", "error", "error", "error"]
    assert (records[0].success, records[0].steps) == (sound[0].success, sound[0].steps)
    assert records[1].error == "the action of step 7 is not finite (number 3 is nan)"
    assert records[2].error == "at step 0: The world memory is not finite."
    assert records[3].error == "the state after step 3 is not finite (number 0 is inf)"
    assert [records[index].steps for index in (1, 2, 3)] == [6, 0, 3]
    assert not any(records[index].success for index in (1, 2, 3))
    assert list(films) == [0]


def test_without_memory_only_query_frames_are_drawn(tmp_path):
    records, policy = play(tmp_path, [row(1)], max_steps=30)
    assert records[1].steps == 30
    assert records[1].renders == 2 * records[1].queries
    assert (records[1].reset, records[1].policy_batch) == ("cheap", 1)
    assert all(query.frames is None for query in policy.queries)
    assert [int(query.images["image"][0, 0, 0]) for query in policy.queries] == list(
        range(0, 30, 4)
    )


@pytest.mark.parametrize("cameras", [("image",), ("image2",), ("image", "image2")])
@pytest.mark.parametrize(
    ("n_action_steps", "world_frames"), [(4, 3), (4, 4), (4, 7), (1, 7), (8, 7)]
)
def test_a_query_carries_the_last_consecutive_frames(
    tmp_path, n_action_steps, world_frames, cameras
):
    """The fake's images are 100 brighter from the second camera."""
    records, policy = play(
        tmp_path,
        [row(1)],
        n_action_steps=n_action_steps,
        world_frames=world_frames,
        cameras=cameras,
    )
    drawn = set()
    for query in policy.queries:
        now = query.number * n_action_steps
        steps = [max(0, step) for step in range(now - world_frames + 1, now + 1)]
        drawn |= {(camera, step) for camera in cameras for step in steps} | {
            (camera, now) for camera in ("image", "image2")
        }
        assert query.frames.shape == (len(cameras), world_frames, 2, 2, 3)
        for camera, frames in zip(cameras, query.frames, strict=True):
            assert (frames[:, 0, 0, 0] - 100 * (camera == "image2")).tolist() == steps
    assert records[1].renders == len(drawn), "only what a query reads is drawn"


def test_waiting_queries_are_answered_together_without_a_barrier(tmp_path):
    rows = [row(index) for index in range(24)]
    one_by_one, _ = play(tmp_path, rows, workers=1)

    class SlowPolicy(CountingPolicy):
        def act(self, queries):
            time.sleep(0.06)  # the others start, and ask, meanwhile
            return super().act(queries)

    records, policy = play(tmp_path, rows, workers=4, policy=SlowPolicy(4, largest_batch=3))
    assert max(policy.batches) == 3
    assert {record.policy_batch for record in records.values()} <= {1, 2, 3}
    assert max(record.policy_batch for record in records.values()) == 3
    for index, record in one_by_one.items():
        assert without_clock(record) == dataclasses.replace(
            without_clock(records[index]), policy_batch=1
        )


def test_a_simulator_keeps_to_its_task_while_that_has_rows(tmp_path):
    """Two tasks, each played by one of two simulators; with one simulator each is made once."""
    rows = [row(index, task=index % 2) for index in range(8)]
    plan_faults(tmp_path, {0: ["none"], 1: ["none"]})  # so that every making leaves a mark
    records, _ = play(tmp_path, rows, workers=1)
    assert sorted(records) == list(range(8))
    assert [(tmp_path / f"tries-{task}").read_text() for task in (0, 1)] == [".", "."]


def test_what_the_policy_keeps_is_its_episode_s_own(tmp_path):
    """It is empty at each first query, also of an episode that starts again."""
    plan_faults(tmp_path, {1: ["raise in step"]})
    seen = []

    class KeepingPolicy(CountingPolicy):
        def act(self, queries):
            for query in queries:
                asked = query.kept.setdefault("asked", [])
                seen.append((query.row.index, query.number, list(asked)))
                asked.append(query.number)
            return super().act(queries)

    play(tmp_path, [row(0), row(1, task=1)], policy=KeepingPolicy(2))
    assert {index for index, *_ in seen} == {0, 1}
    assert len([number for index, number, _ in seen if (index, number) == (1, 0)]) == 2, (
        "it started again"
    )
    assert all(asked == list(range(number)) for _, number, asked in seen)
