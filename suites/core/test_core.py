"""The core suite: every arm trained, every rollout played, one pytest item per case of the plan."""


def test_core(case_id, play_case):
    record = play_case(case_id)
    assert record["case"] == case_id
