"""What `wmbench verify` says of GitHub's attestation beside a run: it is no evidence, changes no
seal, and is never taken for checked."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.formats.checksums import sha256_of
from bench.share.pack import pack, verify_packed
from bench.share.pull import pull
from bench.verify.attestation import ATTESTATION
from bench.verify.manifest import MANIFEST, seal_of
from bench.verify.verify import verify

NOT_CHECKED = "its signature was not checked here"


def bundle_of(*files: Path) -> dict[str, Any]:
    """As the action writes it, of these files, but for certificates and signatures."""
    subjects = [{"name": file.name, "digest": {"sha256": sha256_of(file)}} for file in files]
    statement = {"_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicate": {}}
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {},
        "dsseEnvelope": {
            "payload": base64.b64encode(json.dumps(statement).encode()).decode(),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [],
        },
    }


def attest(run_dir: Path) -> None:
    bundle = bundle_of(run_dir / MANIFEST, run_dir / "report.json")
    (run_dir / ATTESTATION).write_text(json.dumps(bundle))


def test_a_run_without_one_is_right_and_says_so(
    original: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", str(original)]) == 0
    assert f"\nattestation: none: there is no {ATTESTATION} " in capsys.readouterr().out


def test_one_that_fits_is_named_and_not_called_checked(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seal = seal_of(run_dir)
    attest(run_dir)
    assert cli.main(["verify", str(run_dir), "--seal", seal]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("attestation: "))
    assert "names manifest.json and report.json as they are here" in line
    assert NOT_CHECKED in line
    assert f"gh attestation verify {MANIFEST} --bundle {ATTESTATION} --repo" in line
    assert "not files of a run" not in out


def test_one_of_other_files_is_named_and_breaks_nothing(run_dir: Path, original: Path) -> None:
    attest(run_dir)
    (run_dir / "report.json").write_text("{}\n")
    other = verify(run_dir).attestation
    assert "does not name report.json as it is here" in other
    assert NOT_CHECKED in other
    shutil.copy(original / "report.json", run_dir / "report.json")
    (run_dir / ATTESTATION).write_text(json.dumps(bundle_of(run_dir / "plan.json")))
    verified = verify(run_dir)
    assert "does not name manifest.json and report.json as they are here" in verified.attestation
    assert verified.damages == ()


def no_payload(bundle: dict[str, Any]) -> None:
    del bundle["dsseEnvelope"]["payload"]


def no_base64(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["payload"] = "§"


def no_statement(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(b'{"subject": [7]}').decode()


@pytest.mark.parametrize("damage", [no_payload, no_base64, no_statement, dict.clear])
def test_one_that_cannot_be_read_breaks_nothing(
    run_dir: Path, damage: Callable[[dict[str, Any]], None]
) -> None:
    bundle = bundle_of(run_dir / MANIFEST)
    damage(bundle)
    (run_dir / ATTESTATION).write_text(json.dumps(bundle))
    verified = verify(run_dir)
    assert verified.attestation.startswith(f"{ATTESTATION} cannot be read")
    assert verified.damages == ()


def test_half_a_file_and_a_folder_of_its_name_break_nothing(run_dir: Path) -> None:
    path = run_dir / ATTESTATION
    path.write_text('{"dsse')
    assert verify(run_dir).attestation.startswith(f"{ATTESTATION} cannot be read")
    path.unlink()
    path.mkdir()
    assert verify(run_dir).attestation.startswith(f"{ATTESTATION} cannot be read")
    assert verify(run_dir).damages == ()


def test_it_goes_with_a_packed_and_with_a_fetched_run(run_dir: Path, tmp_path: Path) -> None:
    attest(run_dir)
    packed = verify_packed(pack(run_dir, tmp_path / "run.tar.gz"))
    fetched = pull(str(run_dir), tmp_path / "fetched").run_dir
    said = verify(run_dir).attestation
    assert "as they are here" in said
    assert (packed.attestation, verify(fetched).attestation) == (said, said)
