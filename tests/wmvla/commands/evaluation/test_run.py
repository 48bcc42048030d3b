"""The whole command with a simulator without physics: what is recorded, summed up, filmed and
played again."""

import json
import sys
from pathlib import Path

import pytest

from tests.wmvla.commands.planned import LOST, make_planned
from tests.wmvla.conftest import SIZE
from tests.wmvla.policy import cases
from wmvla.commands.evaluation import run
from wmvla.commands.evaluation.main import main


@pytest.fixture(autouse=True)
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "make_simulation", make_planned)


@pytest.fixture
def command(base: Path, tmp_path: Path) -> list[str]:
    return [
        f"--policy.path={base}", "--policy.device=cpu", "--env.type=libero", "--env.task=libero_object", "--env.task_ids=[7]",
        "--env.episode_length=5", f"--env.observation_height={SIZE}", f"--env.observation_width={SIZE}",
        "--eval.n_episodes=4", f"--output_dir={tmp_path / 'out'}", "--workers=2",
    ]  # fmt: skip


def lines(out: Path) -> list[dict]:
    rows = [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]
    return sorted(
        ({**row, "seconds": 0, "cpu_seconds": 0} for row in rows), key=lambda row: row["index"]
    )


def test_errors_are_counted_apart_and_failures_are_filmed(command, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    assert main([*command, "--videos", "failures"]) == 0
    info = json.loads((out / "eval_info.json").read_text())
    film = str(out / "videos" / "libero_object_7" / f"eval_episode_{LOST}.mp4")
    (task,) = info["per_task"]
    assert (task["task_group"], task["task_id"]) == ("libero_object", 7)
    assert task["metrics"]["successes"] == [True, False, True]
    assert task["metrics"]["sum_rewards"] == task["metrics"]["max_rewards"] == [1.0, 0.0, 1.0]
    assert info["overall"]["pc_success"] == pytest.approx(200 / 3)
    assert info["overall"]["video_paths"] == [film]
    assert [path.name for path in out.rglob("*.mp4")] == [Path(film).name]
    assert info["overall"]["eval_ep_s"] == pytest.approx(info["overall"]["eval_s"] / 4)
    (trouble,) = info["not_played"]
    assert (trouble["task_group"], trouble["task_id"], trouble["seed"]) == (
        "libero_object",
        7,
        1002,
    )
    assert (trouble["status"], trouble["error"]) == ("error", "RuntimeError: the gripper fell off")
    printed = capsys.readouterr()
    assert "1 of 4 episodes could not be played" in printed.out
    assert "the rate between 50.0 and 75.0 %" in printed.out
    assert "libero_object task 7: 2 of 3 succeeded" in printed.out
    assert "4/4" in printed.err
    assert "2/3 = 66.7% succeeded" in printed.err

    monkeypatch.setattr(
        run, "load_rollout_policy", lambda *given: pytest.fail("nothing is left to play")
    )
    assert main(command) == 0
    assert json.loads((out / "eval_info.json").read_text())["per_group"] == info["per_group"]


def test_what_was_lost_is_played_again_and_gives_the_same(command, tmp_path, capsys):
    out = tmp_path / "out"
    command[command.index("--eval.n_episodes=4")] = "--eval.n_episodes=2"
    assert main(command) == 0
    whole = lines(out)
    first, second = (out / "episodes.jsonl").read_text().splitlines(keepends=True)
    (out / "episodes.jsonl").write_text(first + second[:40])  # as kill -9 leaves it
    assert main(command) == 0
    assert lines(out) == whole

    more = [*command[:-3], "--eval.n_episodes=4", *command[-2:]]
    assert main(more) == 0
    assert lines(out)[:2] == whole
    assert json.loads((out / "eval_info.json").read_text())["overall"]["n_episodes"] == 3

    changed = (out / "episodes.jsonl").read_text().replace('"steps": 5', '"steps": 4')
    (out / "episodes.jsonl").write_text(changed)
    capsys.readouterr()
    assert main([*more, "--videos=failures"]) == 0
    assert (
        "eval_episode_1.mp4 does not show the recorded episode: ok, no success after 5 steps"
        in capsys.readouterr().err
    )
    assert (out / "episodes.jsonl").read_text() == changed


def test_settings_bind_once_there_are_episodes(command, tmp_path, capsys, monkeypatch):
    command[command.index("--eval.n_episodes=4")] = "--eval.n_episodes=1"
    assert main([*command, "--policy.use_amp=ten"]) == 2
    monkeypatch.setattr(
        run, "roll_out", lambda *given, **more: None
    )  # stopped before the first episode's end
    assert main(command) == 0
    monkeypatch.undo()
    monkeypatch.setattr(run, "make_simulation", make_planned)
    assert main([*command, "--policy.n_action_steps=3"]) == 0
    capsys.readouterr()
    assert main(command) == 2
    assert "policy.n_action_steps was 3, now 2" in capsys.readouterr().err
    journal = tmp_path / "out" / "episodes.jsonl"
    journal.write_text(journal.read_text().replace('"env_seed": 1000', '"env_seed": 7'))
    assert main([*command, "--policy.n_action_steps=3"]) == 2
    assert "episodes.jsonl: episode 0 belongs to another evaluation" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (cases.joint_angles, "'observation.state' of LIBERO begins at axis-angle x = 0 (-2.76 to"),
        (cases.gripper_of_0_and_1, "action 6, the gripper, was trained on from 0 to 1"),
    ],
)
def test_a_checkpoint_of_other_states_or_gripper_plays_no_episode(
    command, base, tmp_path, capsys, case, said
):
    other = cases.copy(base, tmp_path / "other", case)
    assert main([f"--policy.path={other}", *command[1:]]) == 2
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if str(other) in line]
    assert [said in line for line in errors] == [True], printed.err
    assert "Traceback" not in printed.out + printed.err
    assert not (tmp_path / "out" / "episodes.jsonl").exists()
    assert main(command) == 0


def test_ctrl_c_says_how_to_go_on(command, tmp_path, capsys, monkeypatch):
    def stopped(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "roll_out", stopped)
    monkeypatch.chdir(tmp_path)
    assert main([flag for flag in command if not flag.startswith("--output_dir")]) == 130
    printed = capsys.readouterr().err
    assert "Recording in outputs/eval/" in printed
    assert "recorded: give the same command with the same --output_dir to continue" in printed


def test_suites_are_groups(command, tmp_path):
    command[command.index("--env.task=libero_object")] = "--env.task=libero_spatial,libero_object"
    command[command.index("--eval.n_episodes=4")] = "--eval.n_episodes=2"
    assert main(command) == 0
    info = json.loads((tmp_path / "out" / "eval_info.json").read_text())
    assert [(task["task_group"], task["task_id"]) for task in info["per_task"]] == [
        ("libero_spatial", 7),
        ("libero_object", 7),
    ]
    assert {name: group["pc_success"] for name, group in info["per_group"].items()} == {
        "libero_spatial": 50,
        "libero_object": 50,
    }
    assert info["overall"]["n_episodes"] == 4


def test_a_command_leaves_the_process_its_own_command_line(command: list[str]) -> None:
    """Configurations made later in the process would take its flags for their own."""
    before = list(sys.argv)
    assert main([*command, "--env.type=nonsense"]) == 2
    assert sys.argv == before
