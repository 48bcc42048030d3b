"""LIBERO's instructions."""

from wmvla.sim.libero.assets import prepare_libero

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_90", "libero_10")


def task_sentences() -> list[str]:
    """Every instruction of every LIBERO suite, sorted, each once."""
    prepare_libero()
    from libero.libero.benchmark import task_maps

    return sorted({task.language for suite in SUITES for task in task_maps[suite].values()})
