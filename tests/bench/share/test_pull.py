"""Pulling with a real rsync, from a folder and through a shell that stands in for ssh: again and
again, never for the worse."""

import fcntl
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from sealed_run import sealed_run, small_plan

from bench import cli
from bench.share.pull import pull
from bench.verify.manifest import files_of
from bench.verify.verify import verify
from wmvla.errors import UserError

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
JOURNAL = "episodes/E2-pred-s0.jsonl"


@pytest.fixture
def remote(run_dir: Path) -> Path:
    return run_dir


def small_files(run_dir: Path) -> dict[str, bytes]:
    return {
        name: path.read_bytes()
        for name, path in files_of(run_dir).items()
        if not name.startswith("checkpoints/")
    }


def test_small_files_are_pulled_again_and_again(
    remote: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    assert cli.main(["pull", str(remote), str(here)]) == 0
    assert (
        f"{len(small_files(remote)) + 1} new and 0 changed files in {here}"
        in capsys.readouterr().out
    )
    assert small_files(here) == small_files(remote)
    assert not (here / "checkpoints").exists()
    assert cli.main(["verify", str(here)]) == 0
    capsys.readouterr()
    assert cli.main(["pull", f"{remote}/", str(here)]) == 0
    assert "0 new and 0 changed files" in capsys.readouterr().out


def test_weights_are_pulled_where_they_are_asked_for(remote: Path, tmp_path: Path) -> None:
    pulled = pull(str(remote), tmp_path / "here", weights=True)
    assert {name for name in pulled.new if name.startswith("checkpoints/")}
    assert not [note for note in verify(tmp_path / "here").notes if "checkpoints" in note]


def test_the_name_is_that_of_the_run_there(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pull(str(remote)).run_dir == Path("results/run")


def test_a_remote_shell_is_used(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a name with a blank and a quote too, which a remote shell would take apart. Twice: the
    plan comes by itself first."""
    odd = remote.rename(remote.parent / "a 'run'; touch oops")
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "$1" >> "$SHELL_LOG"\nshift\nexec sh -c "$*"\n')
    shell.chmod(0o755)
    monkeypatch.setenv("RSYNC_RSH", str(shell))
    monkeypatch.setenv("SHELL_LOG", str(tmp_path / "log"))
    monkeypatch.chdir(tmp_path)
    pull(f"gpu-box:{odd}", tmp_path / "here")
    assert small_files(tmp_path / "here") == small_files(odd)
    assert (tmp_path / "log").read_text() == "gpu-box\n" * 2
    assert not list(tmp_path.rglob("oops"))


def test_a_live_run_is_pulled_and_said_to_be_unfinished(remote: Path, tmp_path: Path) -> None:
    """Its journal grows between two pulls, and has half a line in the first."""
    whole = (remote / JOURNAL).read_bytes()
    lines = whole.splitlines(keepends=True)
    for name in (
        "manifest.json",
        "report.html",
        "report.json",
        "report.md",
        "cases/E2-pred-s0.json",
    ):
        (remote / name).unlink()
    (remote / JOURNAL).write_bytes(b"".join(lines[:3]) + lines[3][:20])
    here = tmp_path / "here"
    pull(str(remote), here)
    first = verify(here)
    assert (first.state, first.damages) == ("unfinished", ())
    (remote / JOURNAL).write_bytes(whole)
    pulled = pull(str(remote), here)
    assert (pulled.new, pulled.changed) == ((), (JOURNAL,))
    assert (here / JOURNAL).read_bytes() == whole


def test_a_journal_that_lost_episodes_there_does_not_take_them_here(
    remote: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The machine was given back, and another one began the same plan again."""
    here = tmp_path / "here"
    pull(str(remote), here)
    before = (here / JOURNAL).read_bytes()
    (remote / JOURNAL).write_bytes(before.splitlines(keepends=True)[0])
    assert cli.main(["pull", str(remote), str(here)]) == 1
    assert capsys.readouterr().err == (
        f"{here / JOURNAL}: on the other machine it lacks 5 lines that are recorded here; the"
        " file here is kept\n"
    )
    assert (here / JOURNAL).read_bytes() == before


def test_another_run_is_not_overwritten(remote: Path, tmp_path: Path) -> None:
    other = sealed_run(tmp_path / "other", small_plan(episodes=2))
    before = small_files(other)
    with pytest.raises(UserError, match="this folder has another run"):
        pull(str(remote), other)
    assert small_files(other) == before


def test_a_broken_transfer_changes_nothing(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends after 9,000 bytes of what is there, which no compression makes
    smaller."""
    here = tmp_path / "here"
    pull(str(remote), here)
    before = small_files(here)
    (remote / "report.md").write_bytes(os.urandom(100_000))
    shell = tmp_path / "shell"
    shell.write_text(
        '#!/bin/bash\nexec 3<&0\nshift\nexec dd bs=1 count=9000 2>&- < <(sh -c "$*" <&3)\n'
    )
    shell.chmod(0o755)
    monkeypatch.setenv("RSYNC_RSH", str(shell))
    with pytest.raises(UserError, match="could not be pulled, and nothing has changed here: "):
        pull(f"gpu-box:{remote}", here)
    assert small_files(here) == before


SSH = (
    "Authorized use only.\nWarning: Permanently added 'gpu-box' (ED25519) to the list of known"
    " hosts.\n"
)


@pytest.mark.parametrize(
    "reason",
    [
        "ssh: Could not resolve hostname gpu-box: Name or service not known",
        "me@gpu-box: Permission denied (publickey).",
        "bash: line 1: rsync: command not found",
    ],
)
def test_why_the_remote_shell_failed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """And not what rsync makes of it: that its connection was closed."""
    shell = tmp_path / "shell"
    shell.write_text(f'#!/bin/sh\ncat >&2 <<"END"\n{SSH}{reason}\nEND\nexit 255\n')
    shell.chmod(0o755)
    monkeypatch.setenv("RSYNC_RSH", str(shell))
    with pytest.raises(UserError) as caught:
        pull("gpu-box:results/run", tmp_path / "here")
    assert (
        str(caught.value)
        == f"gpu-box:results/run: could not be pulled, and nothing has changed here: {reason}"
    )


@pytest.mark.parametrize("source", ["gpu-box:", "gpu-box:/", "me@gpu-box:///", "/"])
def test_a_whole_machine_is_not_pulled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """A name is wanted even where it is said where the run is to go."""
    monkeypatch.setenv("PATH", str(tmp_path))  # rsync would not be found
    with pytest.raises(UserError, match="there is no run directory in it; give HOST:DIR"):
        pull(source, tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_of_a_folder_that_is_no_run_nothing_is_fetched(tmp_path: Path) -> None:
    """The one above the run, for instance, which may hold a hundred others."""
    other = tmp_path / "remote"
    other.mkdir()
    (other / "large.bin").write_bytes(bytes(1000))
    with pytest.raises(
        UserError,
        match=(
            r'could not be pulled, and nothing has changed here: .*plan\.json" failed: No such file'
        ),
    ):
        pull(str(other), tmp_path / "here")
    assert not list((tmp_path / "here").rglob("large.bin"))


def test_two_do_not_pull_into_one_folder(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.share.pull.LOCK_SECONDS", 0.2)
    here = tmp_path / "here"
    pull(str(remote), here)
    with (here / ".pull.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(
            UserError, match="here: another wmbench pull is running here; wait for it or stop it"
        ):
            pull(str(remote), here)
    assert pull(str(remote), here).new == ()


SLOW_RSYNC = """#!/bin/sh
echo $$ > {pid}
exec sleep 60
"""


def test_the_rsync_of_a_killed_pull_ends_and_the_next_one_waits_for_it(
    remote: Path, tmp_path: Path
) -> None:
    here, pid, fake = tmp_path / "here", tmp_path / "pid", tmp_path / "bin" / "rsync"
    fake.parent.mkdir()
    fake.write_text(SLOW_RSYNC.format(pid=pid))
    fake.chmod(0o755)
    doomed = os.fork()
    if not doomed:
        os.environ["PATH"] = f"{fake.parent}:{os.environ['PATH']}"
        pull(str(remote), here)
        os._exit(1)
    while not (pid.exists() and pid.read_text().strip()):
        time.sleep(0.01)
    os.kill(doomed, signal.SIGKILL)
    os.waitpid(doomed, 0)
    assert pull(str(remote), here).new


def test_damage_here_is_mended(remote: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    pull(str(remote), here)
    path = here / "metrics" / "E0-train-s0.jsonl"
    text = path.read_bytes()
    stamp = path.stat().st_mtime_ns
    path.write_bytes(text[:-3] + b"9" + text[-2:])
    os.utime(path, ns=(stamp, stamp))
    assert verify(here).damages
    assert pull(str(remote), here).changed == ("metrics/E0-train-s0.jsonl",)
    assert verify(here).damages == ()


def test_a_link_there_is_not_followed(remote: Path, tmp_path: Path) -> None:
    (remote / "secret.txt").symlink_to("/etc/passwd")
    pull(str(remote), tmp_path / "here")
    assert not (tmp_path / "here" / "secret.txt").exists()


def test_a_failure_that_is_over_goes(remote: Path, tmp_path: Path) -> None:
    failures = remote / "failures"
    failures.mkdir()
    (failures / "E0-none-s0.json").write_text(json.dumps({"case": "E0-none-s0", "error": "no"}))
    here = tmp_path / "here"
    pull(str(remote), here)
    assert (here / "failures" / "E0-none-s0.json").exists()
    shutil.rmtree(failures)
    pull(str(remote), here)
    assert verify(here).damages == ()


def test_what_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pull", str(tmp_path / "nothing"), str(tmp_path / "here")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"error: {tmp_path / 'nothing'}: could not be pulled, and nothing has changed here: "
    )
    assert error.count("\n") == 1


def test_without_rsync_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["pull", "host:results/run", str(tmp_path / "here")]) == 2
    assert "rsync is not installed here" in capsys.readouterr().err
