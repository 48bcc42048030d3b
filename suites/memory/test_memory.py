"""The memory suite: each memory trained and played, one pytest item per case of the plan."""


def test_memory(case_id, play_case):
    record = play_case(case_id)
    assert record["case"] == case_id
