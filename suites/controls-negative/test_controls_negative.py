"""The negative control: the core suite's arms and rollouts on a scene of our own, one pytest item
per case of the plan."""


def test_controls_negative(case_id, play_case):
    record = play_case(case_id)
    assert record["case"] == case_id
