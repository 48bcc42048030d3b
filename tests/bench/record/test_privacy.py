"""Names and secrets: what is taken out of text, and that a run directory holds none of those that
were planted."""

import html
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_runs import finished, start, trained
from synthetic_run import core_plan

from bench.plan.cases import Case
from bench.plan.document import Plan
from bench.plan.make import resolve_plan
from bench.record import privacy
from bench.record.privacy import anonymous, hide_names
from bench.record.provenance import collect
from bench.run import executor as module
from bench.run.executor import Executor, failure_path
from bench.run.stages.context import Context
from wmvla.errors import UserError

USER, HOST, HF, WANDB = (
    "adalovelace",
    "node17.cluster.invalid",
    "hf_PlantedPlantedPlanted1",
    "0123planted0123planted",
)
PLANTED = (USER, "node17", HF, WANDB)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This process is of another user, on another host, with secrets in its environment; her home
    folder."""
    home = tmp_path / "homes" / USER
    home.mkdir(parents=True)
    for name, value in (
        ("HOME", str(home)),
        ("LOGNAME", USER),
        ("HF_TOKEN", HF),
        ("WANDB_API_KEY", WANDB),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    return home


def told_in(folder: Path) -> Iterator[tuple[str, str]]:
    """Every planted name in a folder's files, whatever they are, and in the names of these."""
    for path in folder.rglob("*"):
        text = str(path.relative_to(folder)) + (
            path.read_bytes().decode(errors="replace") if path.is_file() else ""
        )
        yield from ((str(path), name) for name in PLANTED if name in text)


def test_names_of_user_and_host_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/users/ada")
    monkeypatch.setattr(privacy, "_user_name", lambda: "ada")
    monkeypatch.setattr(socket, "gethostname", lambda: "node17.cluster.org")
    assert anonymous("/users/ada/runs --x=/users/ada") == "~/runs --x=~"
    assert anonymous("/users/adam/runs") == "/users/adam/runs"
    assert anonymous("/home/grace/runs /Users/grace") == "/home/<user>/runs /Users/<user>"
    assert anonymous("/scratch/ada/runs") == "/scratch/<user>/runs"
    assert anonymous("logged in as ada (ada@mail)") == "logged in as <user> (<user>@mail)"
    assert anonymous("tcp://node17:29500 node17.cluster.org") == "tcp://<host>:29500 <host>"
    assert anonymous("node170 adagio") == "node170 adagio"


@pytest.mark.parametrize("name", ["root", "runner", ""])
def test_an_account_of_nobody_in_particular_is_a_word(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(privacy, "_user_name", lambda: name)
    assert anonymous("the root of the runner") == "the root of the runner"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("--hub_token=abc --x=1", "--hub_token=<secret> --x=1"),
        ("--token abc", "--token <secret>"),
        ("WANDB_API_KEY=abc wmbench run", "WANDB_API_KEY=<secret> wmbench run"),
        ("password: abc", "password: <secret>"),
        ("https://ada:abc@hub.invalid/x", "https://<secret>@hub.invalid/x"),
        ("got hf_abcdefghijklmnopqrst here", "got <secret> here"),
        ("ghp_abcdefghijklmnopqrst", "<secret>"),
    ],
)
def test_secrets_are_known_by_name_or_shape(text: str, hidden: str) -> None:
    assert anonymous(text) == hidden


@pytest.mark.parametrize(
    "text",
    [
        "--policy.tokenizer_max_length=48",
        "512 tokens a clip",
        "a key = value",
        "commit 48341c1c744a",
        "the secretary: Bob",
        "token",
    ],
)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert anonymous(text) == text


@pytest.mark.parametrize(
    "text", ["--token=x1 /home/ada https://a:b@c.invalid password: x2", "/users/ada on node17"]
)
def test_what_is_hidden_stays_so_in_a_page_too(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """`wmbench pack` asks whether there is anything left to hide."""
    monkeypatch.setattr(privacy, "_user_name", lambda: "ada")
    monkeypatch.setattr(socket, "gethostname", lambda: "node17")
    once = anonymous(text)
    assert once != text
    assert anonymous(once) == once
    assert anonymous(html.escape(once)) == html.escape(once)


def test_a_committed_run_holds_nothing_to_hide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does anything in it look like a secret by mistake; whoever runs this test, and
    wherever."""
    monkeypatch.setenv("HOME", "/homes/nobody-at-all")
    monkeypatch.setattr(privacy, "_user_name", lambda: "nobody-at-all")
    monkeypatch.setattr(privacy, "_secrets", list)
    monkeypatch.setattr(socket, "gethostname", lambda: "nowhere.invalid")
    reference = Path(__file__).parents[3] / "results" / "reference"
    files = [
        path for path in reference.rglob("*") if path.suffix in (".json", ".jsonl", ".md", ".html")
    ]
    assert len(files) > 20
    for path in files:
        changed = [line for line in path.read_text().splitlines() if anonymous(line) != line]
        assert changed == [], path


def test_values_of_secret_variables_are_found_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_TOKEN", "opensesame")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false-ish")
    monkeypatch.setenv("SHORT_TOKEN", "on")
    assert anonymous("opensesame is on, false-ish") == "<secret> is on, false-ish"


def test_a_json_file_stays_json(planted: Path, tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    content = {
        "base": f"{planted}/base",
        "api_key": "x",
        "steps": 5,
        "token_ids": [1, 2],
        "eos_token": 7,
        USER: None,
    }
    path.write_text(json.dumps(content))
    hide_names([path, tmp_path / "none.json"])
    expected = {
        "base": "~/base",
        "api_key": "<secret>",
        "steps": 5,
        "token_ids": [1, 2],
        "eos_token": 7,
        "<user>": None,
    }
    assert json.loads(path.read_text()) == expected


def test_a_file_with_nothing_to_hide_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"step 1\r\nloss \xff\n")
    before = path.stat()
    hide_names([path])
    assert (path.stat().st_ino, path.read_bytes()) == (before.st_ino, b"step 1\r\nloss \xff\n")


def test_provenance_holds_none(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["wmbench", f"--results={planted}/runs", f"--token={HF}", f"--host={HOST}"]
    )
    monkeypatch.setenv("LIBERO_CONFIG_PATH", f"/scratch/{USER}/libero")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", f"eth@{HOST}")
    text = json.dumps(collect())
    assert [name for name in PLANTED if name in text] == []
    assert "/scratch/<user>/libero" in text


@pytest.mark.parametrize("fails", [False, True])
def test_jobs_logs_records_and_failures_hold_none(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    plan: Plan = resolve_plan("core", "smoke", "cpu")
    run_dir = tmp_path / "elsewhere" / "results" / "run"

    def stage(context: Context, case: Case) -> dict[str, Any]:
        """As a training does: paths in its job, and a log of libraries that say who and where they
        are."""
        job, log = run_dir / "jobs" / f"{case.id}.json", context.log_path(case.id)
        for path in (job, log):
            path.parent.mkdir(parents=True, exist_ok=True)
        job.write_text(json.dumps({"base": f"{planted}/cache/base", "token": HF}))
        log.write_text(
            f"wandb: logged in as {USER} on {HOST}, key {WANDB}\n{planted}/x.py: warning\n"
        )
        if fails:
            raise UserError(f"{planted}/cache: full on {HOST}")
        hub = planted / ".cache" / "huggingface" / "snapshot"
        hub.mkdir(parents=True, exist_ok=True)
        (hub / "config.json").write_text("{}")
        return {"artefacts": {"checkpoint": hub}}

    monkeypatch.setattr(module, "STAGES", dict.fromkeys(["demonstrations", "base"], stage))
    executor = Executor(plan, run_dir)
    if fails:
        with pytest.raises(UserError):
            executor.ensure("base")
        assert (
            json.loads(failure_path(run_dir, "demonstrations").read_text())["error"]
            == "~/cache: full on <host>"
        )
    else:
        executor.ensure("base")
        record = json.loads((run_dir / "cases" / "base.json").read_text())
        assert record["artefacts"] == {"checkpoint": "~/.cache/huggingface/snapshot"}
        assert Executor(plan, run_dir).is_done("base"), "what is recorded is found again"
    assert len(list(run_dir.rglob("*.log"))) >= 1
    assert list(told_in(run_dir)) == []


def test_a_whole_run_holds_none(tmp_path: Path) -> None:
    """A real `wmbench run` process with fake simulators, of that user, beside a library that tells
    its secrets in an error."""
    plan = core_plan("smoke", episodes=2, arms=("E0",))
    home = tmp_path / USER
    run_dir = trained(plan, home / "results")
    (run_dir / "provenance.json").unlink()
    plugin = tmp_path / "planted_plugin"
    plugin.mkdir()
    (plugin / "tells_secrets.py").write_text(TELLS_SECRETS)
    path = f"{Path(__file__).parents[3]}:{Path(__file__).parents[1]}:{plugin}"
    environment = {
        "HOME": str(home),
        "LOGNAME": USER,
        "HF_TOKEN": HF,
        "WANDB_API_KEY": WANDB,
        "PLANTED_HOST": HOST,
    }
    code, _, err = finished(
        start(
            run_dir,
            "--arms=E0",
            "--episodes=2",
            PYTHONPATH=path,
            fake="tells_secrets",
            **environment,
        )
    )
    assert code == 0, err
    report = json.loads((run_dir / "report.json").read_text())
    assert report["episodes"]["errors"] > 0
    assert {each["error"] for each in report["broken"]} == {
        "RuntimeError: no scene for <user> on <host> with <secret> in ~/scenes"
    }
    assert report["provenance"]["code_sha256"]
    assert list(told_in(run_dir)) == []


TELLS_SECRETS = """
import os, socket
import fake_rollouts

class Telling(fake_rollouts.FakeSimulation):
    def reset(self, init, env_seed, want):
        if init % 2:
            raise RuntimeError(f"no scene for {os.environ['LOGNAME']} on {os.environ['PLANTED_HOST']} "
                               f"with {os.environ['HF_TOKEN']} in {os.environ['HOME']}/scenes")
        return super().reset(init, env_seed, want)

def make(environment, task):
    return Telling()

fake_rollouts.make, install = make, fake_rollouts.install
socket.gethostname = lambda: os.environ["PLANTED_HOST"]
"""
