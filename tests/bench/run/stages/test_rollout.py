"""Rollouts and films of them, on a fake simulator in processes of its own."""

import dataclasses
import json
from pathlib import Path

import av
import fake_rollouts
import pytest
from synthetic_run import core_plan, write_run

from bench import cli
from bench.formats.checksums import signed, sums_of
from bench.plan.machine import load_machine
from bench.record.journal import journal_path
from bench.record.run import read_run
from bench.report.write import write_report
from bench.run.executor import Executor, failure_path, record_path
from bench.run.stages.context import Context
from bench.run.stages.rollout import open_policy
from wmvla.errors import UserError
from wmvla.rollout.journal import Journal, Row, read_all

PLAN = core_plan("smoke", episodes=4)


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose arms are trained; rollouts are faked."""
    fake_rollouts.install(monkeypatch)
    run_dir = write_run(tmp_path / "results" / PLAN.run_name, PLAN, {})
    for case in PLAN.cases:
        record = run_dir / "cases" / f"{case.id}.json"
        if case.kind == "rollout":
            record.unlink()
        if case.kind == "train":
            record.write_text(
                json.dumps(
                    {**json.loads(record.read_text()), "artefacts": {"checkpoint": str(run_dir)}}
                )
            )
    return run_dir


def rows_of(run_dir: Path, case_id: str) -> list[Row]:
    return sorted(read_all(journal_path(run_dir, case_id)), key=lambda row: row["index"])


def play(run_dir: Path, *cases: str) -> None:
    executor = Executor(PLAN, run_dir)
    for case_id in cases:
        executor.ensure(case_id)


def test_a_rollout_records_what_it_used(run_dir: Path) -> None:
    record = Executor(PLAN, run_dir).ensure("E2-pred-s0")
    assert (record["episodes"], record["played"]) == (4, 4)
    assert 1 <= record["rollout_workers"] <= 4
    assert record["artefacts"] == {
        "E2-pred-s0.jsonl": f"results/{PLAN.run_name}/episodes/E2-pred-s0.jsonl"
    }
    assert [row["index"] for row in rows_of(run_dir, "E2-pred-s0")] == [0, 1, 2, 3]
    assert Executor(PLAN, run_dir).ensure("E2-pred-s0") == json.loads(
        (run_dir / "cases" / "E2-pred-s0.json").read_text()
    )


@pytest.mark.parametrize(("deterministic", "batch"), [(True, 1), (False, 64)])
def test_deterministic_is_one_query_at_a_time(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, deterministic: bool, batch: int
) -> None:
    asked = []
    made = fake_rollouts.FakePolicy.__init__

    def remember(self: fake_rollouts.FakePolicy, *arguments: object, **options: object) -> None:
        made(self, *arguments, **options)  # type: ignore[arg-type]
        asked.append(self.largest_batch)

    monkeypatch.setattr(fake_rollouts.FakePolicy, "__init__", remember)
    Executor(PLAN, run_dir, deterministic=deterministic).ensure("E0-none-s0")
    assert asked == [batch]
    assert PLAN.hash == core_plan("smoke", episodes=4).hash


def test_another_scene_than_the_other_arms_ends_the_rollout_at_once(run_dir: Path) -> None:
    play(run_dir, "E0-none-s0")
    journal = Journal(journal_path(run_dir, "E0-none-s0"))
    lines = [{**row, "scene_hash": "f" * 64} if row["init"] == 2 else row for row in journal.rows()]
    journal.path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    with pytest.raises(
        UserError,
        match=r"E2-pred-s0, episode [13] \(task 7, init 2, .*but ffffffffffff in E0-none-s0",
    ):
        play(run_dir, "E2-pred-s0")
    assert all(row["init"] == 1 for row in rows_of(run_dir, "E2-pred-s0")), (
        "what was seen in another scene is not recorded"
    )


def trained(run_dir: Path, case_id: str) -> Path:
    """A checkpoint of a few bytes, recorded as the executor records it: its folder."""
    folder = run_dir / "checkpoints" / case_id / "000002" / "pretrained_model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"type": "smolvla_world"}\n')
    (folder / "model.safetensors").write_bytes(case_id.encode() * 40)
    path = record_path(run_dir, case_id)
    artefacts = {"checkpoint": f"results/{run_dir.name}/{folder.relative_to(run_dir)}"}
    sums = sums_of(run_dir, {"checkpoint": folder}, ())
    path.write_text(
        json.dumps(signed({**json.loads(path.read_text()), "artefacts": artefacts, "sums": sums}))
    )
    return folder


def flip(path: Path) -> None:
    """Change the last bit of a file, and nothing else that can be seen."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_checkpoint_that_changed_after_its_training_is_not_played(
    run_dir: Path, name: str
) -> None:
    changed = trained(run_dir, "E2-train-s0") / name
    trained(run_dir, "E0-train-s0")
    flip(changed)
    executor = Executor(PLAN, run_dir)
    with pytest.raises(UserError) as caught:
        executor.ensure("E2-pred-s0")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{changed.parent}: changed after E2-train-s0 ended")
    assert (
        "put its files back as they were, or remove checkpoints/E2-train-s0 in the run directory"
        in str(caught.value)
    )
    with pytest.raises(UserError):
        Executor(PLAN, run_dir).ensure("E2-pred-s0")
    failure = json.loads(failure_path(run_dir, "E2-pred-s0").read_text())
    assert "changed after E2-train-s0 ended" in failure["error"]
    assert [attempt["error"] for attempt in failure["attempts"]] == [failure["error"]] * 2
    assert read_run(run_dir).failures["E2-pred-s0"] == (
        f"{failure['error']} (attempt 2; the earlier ones: failures/E2-pred-s0.json)"
    )
    assert not rows_of(run_dir, "E2-pred-s0")
    assert executor.ensure("E0-none-s0")["played"] == 4, (
        "what is played by another checkpoint goes on"
    )

    flip(changed)
    assert Executor(PLAN, run_dir).ensure("E2-pred-s0")["played"] == 4
    assert "E2-pred-s0" not in read_run(run_dir).failures
    assert json.loads(failure_path(run_dir, "E2-pred-s0").read_text()) == failure, "it is kept"


def test_episodes_played_before_their_checkpoint_changed_stay(run_dir: Path) -> None:
    folder = trained(run_dir, "E2-train-s0")
    play(run_dir, "E2-pred-s0")
    path = journal_path(run_dir, "E2-pred-s0")
    flip(folder / "model.safetensors")
    assert Executor(PLAN, run_dir).ensure("E2-pred-s0")["played"] == 4, (
        "nothing is left to play: nothing is loaded"
    )

    path.write_bytes(
        b"".join(path.read_bytes().splitlines(keepends=True)[:2])
    )  # a session that was killed
    before = path.read_bytes()
    with pytest.raises(
        UserError, match=r"remove checkpoints/E2-train-s0 episodes/E2-pred-s0\.jsonl in"
    ):
        Executor(PLAN, run_dir).ensure("E2-pred-s0")
    assert path.read_bytes() == before
    flip(folder / "model.safetensors")
    assert Executor(PLAN, run_dir).ensure("E2-pred-s0")["played"] == 2


def test_a_checkpoint_that_cannot_be_read_is_one_line(run_dir: Path) -> None:
    folder = trained(run_dir, "E2-train-s0")
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"pretrained_model: cannot be read: .*empty folder"):
        Executor(PLAN, run_dir).ensure("E2-pred-s0")


def test_the_checkpoint_of_a_record_without_sums_is_believed(run_dir: Path) -> None:
    folder = trained(run_dir, "E2-train-s0")
    path = record_path(run_dir, "E2-train-s0")
    record = json.loads(path.read_text())
    path.write_text(
        json.dumps({key: value for key, value in record.items() if key not in ("sums", "sha256")})
    )
    flip(folder / "model.safetensors")
    assert Executor(PLAN, run_dir).ensure("E2-pred-s0")["played"] == 4


def frames_in(path: Path) -> int:
    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


def episodes_by_outcome(run_dir: Path, case_id: str) -> tuple[list[int], list[int]]:
    rows = rows_of(run_dir, case_id)
    return [row["index"] for row in rows if row["success"]], [
        row["index"] for row in rows if not row["success"]
    ]


def test_videos_are_of_the_episodes_as_recorded(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [case.id for case in PLAN.rollout_cases()]
    play(run_dir, *cases)
    before = {case: rows_of(run_dir, case) for case in cases}
    assert cli.main(["videos", str(run_dir)]) == 0
    videos = run_dir / "videos"
    expected = {
        f"{case}-{index}.mp4" for case in cases for index in episodes_by_outcome(run_dir, case)[1]
    }
    for left, right in (("E2-pred", "E0-none"),):  # both sides of the other claims fail alike here
        solved, other = (
            set(episodes_by_outcome(run_dir, f"{name}-s0")[0]) for name in (left, right)
        )
        assert solved ^ other, "the fake has discordant episodes"
        expected |= {f"{left}-s0-vs-{right}-s0-{index}.mp4" for index in solved ^ other}
    made = {path.name for path in videos.iterdir()}
    assert expected <= made
    assert all("-vs-" in name for name in made - expected)
    printed = capsys.readouterr().out.splitlines()
    assert {str(videos / name) for name in made} == {
        line for line in printed if line.endswith(".mp4")
    }
    failed = episodes_by_outcome(run_dir, "E0-none-s0")[1][0]
    steps = PLAN.recipe.environment.max_steps
    assert frames_in(videos / f"E0-none-s0-{failed}.mp4") == steps + 1 + 20, (
        "every step, the beginning, and a second held"
    )
    assert {case: rows_of(run_dir, case) for case in cases} == before, "a film changes no record"

    # Again: nothing is made twice.
    times = {path: path.stat().st_mtime_ns for path in videos.iterdir()}
    assert cli.main(["videos", str(run_dir)]) == 0
    assert {path: path.stat().st_mtime_ns for path in videos.iterdir()} == times
    assert "film E" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"steps": 9},
            (
                "when played again it is not solved after 16 steps, but the journal says not "
                "solved after 9 steps"
            ),
        ),
        ({"success": True}, "the journal says solved after 16 steps"),
        ({"scene_hash": "e" * 64}, "played again it begins in a different scene"),
        (
            {"steps": 9, "policy_batch": 8},
            "computed in batches of up to 8, and computed alone their last bits may differ",
        ),
    ],
)
def test_an_episode_that_goes_otherwise_has_no_film(
    run_dir: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], why: str
) -> None:
    play(run_dir, "E0-none-s0")
    failed = episodes_by_outcome(run_dir, "E0-none-s0")[1]
    journal = Journal(journal_path(run_dir, "E0-none-s0"))
    (row,) = (row for row in journal.rows() if row["index"] == failed[0])
    journal.path.write_text(json.dumps({**row, **change}) + "\n")
    capsys.readouterr()
    assert cli.main(["videos", str(run_dir), "--episodes", str(failed[0])]) == 1
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert f"E0-none-s0, episode {failed[0]} (" in told.err
    assert why in told.err
    assert not (run_dir / "videos").exists()


def test_videos_end_in_a_report_that_shows_them(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play(run_dir, "E0-none-s0", "E2-pred-s0")
    assert cli.main(["videos", str(run_dir), "--episodes", "0"]) == 0
    assert not (run_dir / "report.html").exists(), "a run that nobody has reported stays so"
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"report: none yet; wmbench report {run_dir} makes one that shows the films"

    write_report(run_dir)
    assert cli.main(["videos", str(run_dir), "--discordant"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"report: {run_dir / 'report.html'}, written again with the films"
    page = (run_dir / "report.html").read_text()
    films = [path.name for path in (run_dir / "videos").glob("*-vs-*.mp4")]
    assert films
    assert all(f'src="videos/{film}"' in page for film in films)

    own = tmp_path / "mine"
    own.mkdir()
    (own / "style.css").write_text("body { color: rebeccapurple }")
    write_report(run_dir, own)
    page = (run_dir / "report.html").read_text()
    assert cli.main(["videos", str(run_dir), "--failures"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "report: not written again, because it was made with other templates; wmbench report"
        f" {run_dir} --templates FOLDER shows the films"
    )
    assert (run_dir / "report.html").read_text() == page


def test_videos_need_the_checkpoint(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["videos", str(run_dir)]) == 0
    assert "nothing to film" in capsys.readouterr().out
    play(run_dir, "E0-none-s0")
    (run_dir / "cases" / "E0-train-s0.json").unlink()
    assert cli.main(["videos", str(run_dir), "--failures"]) == 2
    assert (
        "E0-none-s0 cannot be filmed: the checkpoint of E0-train-s0 is not here"
        in capsys.readouterr().err
    )


def test_ranks_of_torchrun_take_the_gpus_of_their_machine_in_turn(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("LOCAL_RANK", "5")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    cuda = dataclasses.replace(PLAN, machine=load_machine("cuda"))
    open_policy(Context(cuda, run_dir, None), cuda.case("E0-none-s0"), None)
    assert taken == [1]
    open_policy(Context(PLAN, run_dir, None), PLAN.case("E0-none-s0"), None)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    open_policy(Context(cuda, run_dir, None), cuda.case("E0-none-s0"), None)
    assert taken == [1], "neither on a CPU nor alone"
