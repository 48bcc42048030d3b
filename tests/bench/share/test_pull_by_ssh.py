"""Pulling through a real sshd of this test's own, which listens on this machine alone: keys, host
and port are made up here."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.share.pull import pull
from bench.verify.manifest import files_of
from bench.verify.verify import verify
from wmvla.errors import UserError

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
PROGRAMS = (SSHD, shutil.which("ssh"), shutil.which("ssh-keygen"), shutil.which("rsync"))
pytestmark = pytest.mark.skipif(
    None in PROGRAMS, reason="sshd, ssh, ssh-keygen or rsync is not installed"
)
JOURNAL = "episodes/E2-pred-s0.jsonl"


def banner(port: int) -> bytes:
    """What listens there says first; nothing where nothing does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(8)
    except OSError:
        return b""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A program that is ssh to this machine, as RSYNC_RSH takes it."""
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)],
            check=True,
            timeout=30,
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile"
        f" {folder}/user.pub\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication"
        " no\nPermitRootLogin prohibit-password\n"
    )
    assert SSHD
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(
            exist_ok=True
        )  # where sshd gives up root's rights; its service makes it
    with (folder / "log").open("w") as log:
        daemon = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "config")], stdout=log, stderr=log
        )
    try:
        for _ in range(100):
            if banner(port).startswith(b"SSH-") or daemon.poll() is not None:
                break
            time.sleep(0.1)
        if daemon.poll() is not None:
            pytest.skip(f"sshd does not run here: {(folder / 'log').read_text().strip()}")
        program = folder / "shell"
        known = f"-o StrictHostKeyChecking=no -o UserKnownHostsFile={folder}/known -o BatchMode=yes"
        program.write_text(f'#!/bin/sh\nexec ssh -F none -p {port} -i {folder}/user {known} "$@"\n')
        program.chmod(0o755)
        yield program
    finally:
        daemon.terminate()
        daemon.wait(30)


@pytest.fixture
def source(run_dir: Path, shell: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RSYNC_RSH", str(shell))
    return f"127.0.0.1:{run_dir}"


def small_files(run_dir: Path) -> dict[str, bytes]:
    return {
        name: path.read_bytes()
        for name, path in files_of(run_dir).items()
        if not name.startswith("checkpoints/")
    }


def test_a_run_is_pulled_while_it_goes_on(source: str, run_dir: Path, tmp_path: Path) -> None:
    here, whole = tmp_path / "here", (run_dir / JOURNAL).read_bytes()
    lines = whole.splitlines(keepends=True)
    (run_dir / JOURNAL).write_bytes(b"".join(lines[:3]) + lines[3][:20])
    pull(source, here)
    assert small_files(here) == small_files(run_dir)
    (run_dir / JOURNAL).write_bytes(whole)
    assert (pull(source, here).changed, verify(here).damages) == ((JOURNAL,), ())
    (run_dir / JOURNAL).write_bytes(lines[0])
    assert len(pull(source, here).kept) == 1
    assert (here / JOURNAL).read_bytes() == whole


def test_what_fails_is_told_as_ssh_and_rsync_tell_it(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r'change_dir ".*nothing" failed: No such file'):
        pull(f"{source}/nothing", tmp_path / "here")
    monkeypatch.setenv(
        "RSYNC_RSH",
        f"{os.environ['RSYNC_RSH']} -i {tmp_path}/no-key -o IdentitiesOnly=yes -o User=nobody",
    )
    with pytest.raises(UserError, match="Permission denied"):
        pull(source, tmp_path / "here")
