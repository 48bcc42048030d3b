"""Packing: the same bytes each time, nobody's name in it, verified as a file; and unpacking, which
lets nothing lead out."""

import gzip
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from sealed_run import finish, small_plan
from synthetic_run import REALISTIC, drawn_outcomes, write_run

from bench import cli
from bench.formats.checksums import signed
from bench.share.pack import pack, unpack, verify_packed
from bench.verify.manifest import seal_of
from wmvla.errors import UserError

NEEDS_ZSTD = pytest.mark.skipif(
    shutil.which("zstd") is None, reason="the program zstd is not installed"
)


def members(packed: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(packed) as archive:
        return archive.getmembers()


def make_tar(path: Path, *files: tuple[tarfile.TarInfo, bytes]) -> Path:
    """A compressed archive with whatever it is told to hold."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for member, content in files:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as stream,
    ):
        stream.write(raw.getvalue())
    return path


@pytest.mark.parametrize("suffix", [".tar.gz", pytest.param(".tar.zst", marks=NEEDS_ZSTD)])
def test_a_packed_run_is_the_same_bytes_and_is_right(
    original: Path, tmp_path: Path, suffix: str
) -> None:
    """Wherever, whenever and by whomever: the copy has other times, modes and another place."""
    elsewhere = Path(
        shutil.copytree(
            original, tmp_path / "elsewhere" / "other-name", copy_function=shutil.copyfile
        )
    )
    os.utime(elsewhere / "plan.json", (1, 1))
    (elsewhere / "report.md").chmod(0o600)
    (elsewhere / ".lock").touch()
    first, second = (
        pack(run, tmp_path / f"{name}{suffix}") for name, run in (("a", original), ("b", elsewhere))
    )
    assert first.read_bytes() == second.read_bytes()
    verified = verify_packed(first)
    assert (verified.state, verified.damages, verified.seal) == ("sealed", (), seal_of(original))
    assert any(note.startswith("checkpoints/ is not here") for note in verified.notes)
    assert any(note.startswith("logs/ is not here") for note in verified.notes)


def test_nothing_tells_who_packed_it(original: Path, tmp_path: Path) -> None:
    packed = pack(original, tmp_path / "run.tar.gz")
    found = members(packed)
    told = {
        (member.uid, member.gid, member.uname, member.gname, member.mtime, member.mode)
        for member in found
    }
    assert told == {(0, 0, "", "", 0, 0o644)}
    assert [member.name for member in found] == sorted(member.name for member in found)
    assert packed.read_bytes()[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    assert not [
        member.name
        for member in found
        if member.name.split("/")[1] in ("logs", "jobs", "slurm", "checkpoints")
    ]


def test_weights_are_packed_where_they_are_asked_for(
    original: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["pack", str(original), "--weights"]) == 0
    out = capsys.readouterr().out
    (packed,) = tmp_path.glob("*.tar.gz")
    assert out.endswith(f"wmbench verify {packed.name}\n")
    assert any(member.name.endswith("model.safetensors") for member in members(packed))
    assert cli.main(["verify", packed.name]) == 0
    assert "checkpoints/ is not here" not in capsys.readouterr().out


def test_an_unpacked_run_is_right(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    run_dir = unpack(pack(original, tmp_path / "run.tar.gz"), folder)
    assert cli.main(["verify", str(run_dir)]) == 0
    assert (run_dir / "report.html").read_bytes() == (original / "report.html").read_bytes()


def test_an_unfinished_run_can_be_packed(tmp_path: Path) -> None:
    plan = small_plan()
    run_dir = finish(write_run(tmp_path / "run", plan, drawn_outcomes(plan, REALISTIC)), plan)
    (run_dir / "cases" / "E2-random-s0.json").unlink()
    verified = verify_packed(pack(run_dir, tmp_path / "run.tar.gz"))
    assert (verified.state, verified.damages) == ("unfinished", ())


def test_what_names_somebody_is_refused(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_dir / "cases" / "base.json"
    record = json.loads(path.read_text())
    path.write_text(
        json.dumps(signed({**record, "artefacts": {"checkpoint": "/home/jane/models/base"}}))
    )
    out = tmp_path / "run.tar.gz"
    assert cli.main(["pack", str(run_dir), "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert error == (
        f"error: {path}: line 1 has the name of this user or this host; --with-names packs it"
        " anyway\n"
    )
    assert not out.exists()
    assert cli.main(["pack", str(run_dir), "-o", str(out), "--with-names"]) == 0
    assert out.exists()


def test_another_suffix_is_refused(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pack", str(original), "-o", str(tmp_path / "run.zip")]) == 2
    assert "must end in .tar.gz or .tar.zst" in capsys.readouterr().err


def holds_the_same(packed: Path, before: bytes) -> bool:
    def unpacked(content: bytes) -> bytes:
        if packed.suffix == ".gz":
            return gzip.decompress(content)
        return subprocess.run(
            ["zstd", "-dqc"], input=content, stdout=subprocess.PIPE, check=True
        ).stdout

    return unpacked(packed.read_bytes()) == unpacked(before)


@pytest.mark.parametrize("suffix", [".tar.gz", pytest.param(".tar.zst", marks=NEEDS_ZSTD)])
def test_every_flip_of_a_packed_file_is_found(
    original: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the archive's own sums, else by the run's.

    Non-obvious: a compressed file has bits that change nothing of what it holds. Some of zstd's
    header do; and where a text repeats itself, one distance back is as good as another.
    """
    packed = pack(original, tmp_path / f"run{suffix}")
    before, spread = packed.read_bytes(), random.Random(3)
    places = [
        *range(10 if suffix == ".tar.gz" else 4),
        *(spread.randrange(len(before)) for _ in range(30)),
        *range(len(before) - 8, len(before)),
    ]
    missed = []
    for place in places:
        packed.write_bytes(
            before[:place] + bytes([before[place] ^ 1 << spread.randrange(8)]) + before[place + 1 :]
        )
        code, told = cli.main(["verify", str(packed)]), capsys.readouterr()
        one_line = told.err.startswith(f"error: {packed}: ") and told.err.count("\n") == 1
        if (code == 0 and not holds_the_same(packed, before)) or (code == 2 and not one_line):
            missed.append((place, code, told.err))
    assert missed == []


@pytest.mark.parametrize("cut", [0, 1, 5, 500, -1])
def test_a_cut_file_is_found(original: Path, tmp_path: Path, cut: int) -> None:
    packed = pack(original, tmp_path / "run.tar.gz")
    packed.write_bytes(packed.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"run\.tar\.gz: "):
        verify_packed(packed)


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        entry("../outside"),
        entry("run/../../outside"),
        entry("/tmp/outside-of-it"),
        entry("run//outside"),
        entry("./outside"),
        entry("outside"),
        entry("run/link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("run/link", tarfile.LNKTYPE, "run/plan.json"),
        entry("run/fifo", tarfile.FIFOTYPE),
        entry("run/device", tarfile.CHRTYPE),
        entry("run/folder", tarfile.DIRTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type.decode()}",
)
def test_what_leads_out_is_not_unpacked(tmp_path: Path, member: tarfile.TarInfo) -> None:
    packed = make_tar(tmp_path / "bad.tar.gz", (member, b""))
    folder = tmp_path / "inner" / "results"
    folder.mkdir(parents=True)
    with pytest.raises(UserError, match=r"refused: .* is not a plain file inside of a folder"):
        unpack(packed, folder)
    assert list(folder.rglob("*")) == []
    assert not (tmp_path / "inner" / "outside").exists()


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    packed = make_tar(
        tmp_path / "bad.tar.gz", (entry("run/plan.json"), b"{}"), (entry("run/plan.json"), b"[]")
    )
    with pytest.raises(UserError, match="is in it twice"):
        unpack(packed, tmp_path)


def test_what_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = make_tar(tmp_path / "big.tar.gz", (entry("run/plan.json"), bytes(5000)))
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9000, 5000, 4000)
    )
    with pytest.raises(UserError, match="does not fit on the disk"):
        unpack(packed, tmp_path)


def test_something_else_is_no_packed_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    assert cli.main(["verify", str(path)]) == 2
    assert capsys.readouterr().err == f"error: {path}: not a packed run: neither gzip nor zstd\n"


def test_the_folder_that_it_is_to_lie_in_is_made(run_dir: Path, tmp_path: Path) -> None:
    packed = tmp_path / "not" / "there" / "run.tar.gz"
    assert cli.main(["pack", str(run_dir), "-o", str(packed)]) == 0
    assert cli.main(["verify", str(packed)]) == 0
