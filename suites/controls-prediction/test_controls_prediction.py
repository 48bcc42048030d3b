"""The positive control of prediction, one pytest item per case of the plan."""


def test_controls_prediction(case_id, play_case):
    record = play_case(case_id)
    assert record["case"] == case_id
