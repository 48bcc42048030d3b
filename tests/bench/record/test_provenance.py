import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.host import hardware
from bench.host.folders import CODE as ROOT
from bench.record import provenance
from bench.record.provenance import collect, git_state, mesa_version
from wmvla.errors import UserError

GL_RENDERER = functools.cache(hardware.gl_renderer)
GOLDEN_FRAME = functools.cache(hardware.golden_frame)


@pytest.fixture(autouse=True)
def drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child process draws for each answer, and it is the same for all of these tests."""
    monkeypatch.setattr(hardware, "gl_renderer", GL_RENDERER)
    monkeypatch.setattr(hardware, "golden_frame", GOLDEN_FRAME)


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.invalid")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, timeout=30)


def test_collects_what_a_result_depends_on() -> None:
    found = collect()
    assert json.loads(json.dumps(found)) == found
    assert len(found["uv_lock_sha256"]) == 64
    assert len(found["code_sha256"]) == 64
    assert found["packages"]["mujoco"] == "3.3.2"
    assert None not in found["packages"].values()
    assert found["torch"]["version"].startswith(found["packages"]["torch"])
    assert found["cpu"]["cores_usable"] >= 1
    assert found["cpu"]["memory_bytes"] > 2**30
    assert found["gl_renderer"].count(" / ") == 2
    assert re.fullmatch(r"[0-9a-f]{64}", found["golden_frame_sha256"])
    assert found["environment"]["MUJOCO_GL"] in ("osmesa", "egl")


def test_the_golden_frame_is_the_one_that_the_image_build_draws() -> None:
    from wmvla.sim.libero import assets

    assets.prepare_libero()
    command = [sys.executable, str(ROOT / "scripts/image/render_check.py")]
    built = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert built.startswith(f"frame sha256 {hardware.golden_frame()[:16]} ")


def test_environment_is_taken_from_the_list_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    text = json.dumps(collect())
    assert "hf_secret" not in text
    assert '"CUDA_VISIBLE_DEVICES": "3"' in text


def test_a_repository_is_clean_then_dirty(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "Begin")
    state = git_state(tmp_path)
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "new.py").write_text("")
    assert git_state(tmp_path) == {"commit": state["commit"], "dirty": True}


def test_without_a_repository_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WMBENCH_COMMIT", raising=False)
    found = collect(tmp_path)
    assert "not a git repository" in found["git"]["error"]
    assert "uv.lock" in found["uv_lock_sha256"]["error"]
    assert "no sources" in found["code_sha256"]["error"]


def test_a_repository_further_up_is_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an environment with the wheel lies in somebody's own repository."""
    monkeypatch.delenv("WMBENCH_COMMIT", raising=False)
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "Begin")
    (tmp_path / "site-packages").mkdir()
    with pytest.raises(RuntimeError, match="not a git repository"):
        git_state(tmp_path / "site-packages")


def test_an_image_knows_the_commit_it_was_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WMBENCH_COMMIT", "0123abc-dirty")
    assert git_state(tmp_path) == {"commit": "0123abc", "dirty": True}
    monkeypatch.setenv("WMBENCH_COMMIT", "0123abc")
    assert git_state(tmp_path) == {"commit": "0123abc", "dirty": False}
    assert len(git_state(ROOT)["commit"]) == 40, "a repository counts more than the variable"


def test_what_a_container_and_a_vendor_bring_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert collect()["image_digest"] is None
    monkeypatch.setenv("WMBENCH_IMAGE_DIGEST", "sha256:" + "a" * 64)
    monkeypatch.setenv("NCCL_DEBUG", "WARN")
    found = collect()
    assert found["image_digest"] == "sha256:" + "a" * 64
    assert found["environment"]["NCCL_DEBUG"] == "WARN"
    assert list(found["environment"]) == sorted(found["environment"])
    assert found["packages"]["triton"]
    assert re.fullmatch(r"[0-9a-f]{64}", found["installed_sha256"])


@pytest.mark.parametrize(
    "value",
    ["latest", "a" * 64, "sha256:" + "A" * 64, "sha256:" + "a" * 63, "wmbench@sha256:" + "a" * 64],
)
def test_an_image_digest_is_one_or_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WMBENCH_IMAGE_DIGEST", value)
    with pytest.raises(UserError, match=r"WMBENCH_IMAGE_DIGEST .* give sha256: and 64 hex digits"):
        provenance.image_digest()
    assert "WMBENCH_IMAGE_DIGEST" in collect()["image_digest"]["error"]


def test_mesa_is_told_from_what_opengl_says() -> None:
    llvmpipe = (
        "Mesa/X.org / llvmpipe (LLVM 15.0.6, 256 bits) / 4.5 (Compatibility Profile) Mesa 22.3.6"
    )
    assert mesa_version(llvmpipe) == "22.3.6"
    assert mesa_version("Mesa / llvmpipe / 4.5 Mesa 24.0.9-0ubuntu0.1") == "24.0.9-0ubuntu0.1"
    assert mesa_version("NVIDIA Corporation / NVIDIA H100 / 4.6.0 NVIDIA 550.54") is None
    assert mesa_version({"error": "no OpenGL"}) is None


def test_a_secret_in_the_command_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["wmbench", "run", "core", "--hub-token=planted1", "--seeds", "0"]
    )
    assert collect()["command"] == "wmbench run core --hub-token=<secret> --seeds 0"


@pytest.mark.parametrize(
    "change", [{"gl_renderer": "NVIDIA / H100 / 4.6"}, {"packages": {"mujoco": "3.8.1"}}]
)
def test_frames_of_another_renderer_do_not_join_a_run(tmp_path: Path, change: dict) -> None:
    began = {**provenance.collect(), **change}
    (tmp_path / "provenance.json").write_text(json.dumps(began))
    with pytest.raises(
        UserError, match=r"provenance.json: the run's frames are drawn with .* here it is"
    ):
        provenance.refuse_another_renderer(tmp_path)


def test_the_same_renderer_and_a_run_that_has_none_yet_may_play(tmp_path: Path) -> None:
    assert provenance.refuse_another_renderer(tmp_path) is None
    (tmp_path / "provenance.json").write_text(json.dumps(provenance.collect()))
    assert provenance.refuse_another_renderer(tmp_path) is None, "it is not refused"
