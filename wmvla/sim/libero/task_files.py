"""Which files of LIBERO decide a task: what stands where, what is asked for, the first states."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path


def task_files(suite: str, tasks: Iterable[int]) -> dict[str, Path]:
    """The BDDL file and the file of initial states of each task, by their names below the installed
    LIBERO; none of a suite or task that it does not have.

    Non-obvious: LIBERO itself is not imported, which takes seconds. Its own configuration could
    lead elsewhere; ``prepare_libero`` refuses that.
    """
    spec = importlib.util.find_spec("libero")
    if spec is None or not spec.submodule_search_locations:
        return {}
    root = Path(next(iter(spec.submodule_search_locations))) / "libero"
    names = _names(root / "benchmark" / "libero_suite_task_map.py").get(suite, [])
    found = [
        file
        for task in tasks
        if task < len(names)
        for file in (
            f"bddl_files/{suite}/{names[task]}.bddl",
            f"init_files/{suite}/{names[task]}.pruned_init",
        )
    ]
    return {name: root / name for name in found}


def _names(listing: Path) -> dict[str, list[str]]:
    """The tasks of every suite, in order."""
    spec = importlib.util.spec_from_file_location("libero_suite_task_map", listing)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, list[str]] = module.libero_task_map
    return found
