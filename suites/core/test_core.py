"""The core suite: every arm trained, every rollout played, one pytest item per case of the plan."""


def test_core(case_id, run_case, executor):
    record = run_case(case_id)
    plan = executor.context.plan
    case = plan.case(case_id)
    assert record["kind"] == case.kind
    if case.kind == "train":
        assert record["steps"] == plan.recipe.training.steps
    if case.kind == "rollout":
        assert record["episodes"] == len(plan.episodes), "every arm plays the whole episode table"
