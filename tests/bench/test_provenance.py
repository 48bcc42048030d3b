import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench import hardware, provenance
from bench.provenance import ROOT, anonymous, collect, git_state
from wmvla.errors import UserError


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
    assert "uv.lock" in found["code_sha256"]["error"]


def test_an_image_knows_the_commit_it_was_built_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WMBENCH_COMMIT", "0123abc-dirty")
    assert git_state(tmp_path) == {"commit": "0123abc", "dirty": True}
    monkeypatch.setenv("WMBENCH_COMMIT", "0123abc")
    assert git_state(tmp_path) == {"commit": "0123abc", "dirty": False}
    assert len(git_state(ROOT)["commit"]) == 40, "a repository counts more than the variable"


def test_names_of_user_and_host_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/users/ada")
    monkeypatch.setattr(provenance, "_user_name", lambda: "ada")
    monkeypatch.setattr(socket, "gethostname", lambda: "node17")
    assert anonymous("/users/ada/runs --x=/users/ada") == "~/runs --x=~"
    assert anonymous("/users/adam/runs") == "/users/adam/runs"
    assert anonymous("/home/grace/runs") == "/home/<user>/runs"
    assert anonymous("/scratch/ada/runs") == "/scratch/<user>/runs"
    assert anonymous("tcp://node17:29500") == "tcp://<host>:29500"
    assert anonymous("node170") == "node170"


@pytest.mark.parametrize("change", [{"gl_renderer": "NVIDIA / H100 / 4.6"}, {"packages": {"mujoco": "3.8.1"}}])
def test_frames_of_another_renderer_do_not_join_a_run(tmp_path: Path, change: dict) -> None:
    began = {**provenance.collect(), **change}
    (tmp_path / "provenance.json").write_text(json.dumps(began))
    with pytest.raises(UserError, match=r"provenance.json: the run's frames are drawn with .* here it is"):
        provenance.refuse_another_renderer(tmp_path)


def test_the_same_renderer_and_a_run_that_has_none_yet_may_play(tmp_path: Path) -> None:
    assert provenance.refuse_another_renderer(tmp_path) is None
    (tmp_path / "provenance.json").write_text(json.dumps(provenance.collect()))
    assert provenance.refuse_another_renderer(tmp_path) is None, "it is not refused"
