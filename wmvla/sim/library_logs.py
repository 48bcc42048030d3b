"""What the simulators' libraries would write to places of their own: MuJoCo's warnings go to
standard error, robosuite's log nowhere."""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType


def mujoco_warns_on_stderr() -> None:
    """MuJoCo's warnings, as of a simulation that diverges, become lines of this process's log: by
    itself MuJoCo adds them to a ``MUJOCO_LOG.TXT`` in the current folder, whose ever that is."""
    import mujoco

    mujoco.set_mju_user_warning(_say)


def _say(warning: str) -> None:
    print(f"MuJoCo: {warning}", file=sys.stderr, flush=True)


def robosuite_writes_no_log() -> None:
    """Let robosuite be imported without ``/tmp/robosuite.log``: version 1.4.0 opens that one path
    at its import, and cannot be imported where the file is somebody else's."""
    if not any(isinstance(finder, _Macros) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Macros())


class _Macros(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads ``robosuite.macros``, then takes the level of its log file away.

    Non-obvious: the macros cannot be set from outside before robosuite's own import reads them.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "robosuite.macros":
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path, target)
        if found is not None:
            self.loader, found.loader = found.loader, self
        return found

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        assert self.loader is not None
        self.loader.exec_module(module)
        module.FILE_LOGGING_LEVEL = None  # type: ignore[attr-defined]
