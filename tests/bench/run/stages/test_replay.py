"""Means over replayed episodes weigh each frame, and each action, alike."""

import pytest

from bench.record.replay_summary import summary


def episode(
    frames: int, valid: list[int], cosine: list[float], actions: int, error: float
) -> dict[str, object]:
    return {
        "episode": 0,
        "frames": frames,
        "valid": valid,
        "cosine": cosine,
        "mean_delta_cosine": [0.0] * len(valid),
        "queries": 2,
        "actions": actions,
        "action_error": {"pred": error},
    }


def test_longer_episodes_weigh_more() -> None:
    found = summary(
        [episode(10, [9, 8], [0.1, 0.2], 30, 0.5), episode(4, [3, 2], [0.5, 0.7], 10, 0.1)]
    )
    assert found["prophet"]["valid"] == [12, 10]
    assert found["prophet"]["cosine"] == pytest.approx(
        [(9 * 0.1 + 3 * 0.5) / 12, (8 * 0.2 + 2 * 0.7) / 10]
    )
    assert found["prophet"]["cosine_overall"] == pytest.approx(
        (9 * 0.1 + 3 * 0.5 + 8 * 0.2 + 2 * 0.7) / 22
    )
    assert found["prophet"]["cosine_range"] == pytest.approx(
        [(9 * 0.1 + 8 * 0.2) / 17, (3 * 0.5 + 2 * 0.7) / 5]
    )
    assert found["action_error"]["pred"] == {"mean": pytest.approx(0.4), "range": [0.1, 0.5]}
    assert (found["episodes"], found["frames"], found["queries"], found["actions"]) == (
        2,
        14,
        4,
        40,
    )


def test_an_episode_shorter_than_the_horizon_counts_where_it_can() -> None:
    found = summary([episode(2, [1, 0], [0.4, 0.0], 5, 0.5)])
    assert found["prophet"]["cosine"] == [0.4, 0.0]
    assert found["prophet"]["cosine_overall"] == pytest.approx(0.4)
