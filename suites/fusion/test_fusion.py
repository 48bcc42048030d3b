"""The fusion suite: each path of the memory trained and played, one pytest item per case of the
plan."""


def test_fusion(case_id, play_case):
    record = play_case(case_id)
    assert record["case"] == case_id
