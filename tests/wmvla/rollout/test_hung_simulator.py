"""A simulator that hangs says where: phase, task and initial state in the episode's row, its stack
in its log."""

import pytest

from wmvla.rollout.todo import TRIES

from .fake import STUCK, plan_faults, play, row


@pytest.mark.parametrize(
    ("fault", "phase", "frame"),
    [("hang in reset", "reset", "in reset"), (STUCK, "step 3", "in step")],
)
def test_the_row_of_a_timeout_names_phase_and_log_and_the_log_has_the_stack(
    tmp_path, fault, phase, frame
):
    plan_faults(tmp_path, {1: [fault] * TRIES})
    logs = tmp_path / "logs" / "E2-none-s0"
    rows = [row(0), row(1, task=1), row(2)]
    records, _ = play(tmp_path, rows, workers=1, silence=1.5, logs=logs)
    assert [records[index].status for index in (0, 1, 2)] == ["ok", "timeout", "ok"]
    where = f"in {phase} of fake task 1, initial state 1; see logs/E2-none-s0.simulator-1.log"
    assert records[1].error == f"no sign of life for 2 s {where}"
    text = (tmp_path / "logs" / "E2-none-s0.simulator-1.log").read_text()
    assert text.count(records[1].error) == TRIES, "every try is said"
    assert text.count('fake.py", line') >= TRIES, text
    assert text.count(frame) >= TRIES, text
    assert text.count("about to be stuck") >= (TRIES if fault == STUCK else 0), "what it printed"


def test_simulators_that_print_nothing_leave_no_log(tmp_path):
    play(tmp_path, [row(index) for index in range(4)], logs=tmp_path / "logs" / "E2-none-s0")
    assert list(tmp_path.glob("logs/*")) == []


def test_an_exception_leaves_its_traceback_in_the_log(tmp_path):
    plan_faults(tmp_path, {0: ["raise in step"]})
    play(tmp_path, [row(0)], workers=1, logs=tmp_path / "logs" / "E2-none-s0")
    (log,) = tmp_path.glob("logs/*")
    assert "RuntimeError: the gripper fell off" in log.read_text()
