"""In what two runs differ beside their episodes: plan, recorded code, machine and renderer."""

from bench.record.differences import differences
from bench.record.run import Run

LEFT_OUT = ("episodes", "cases")
"""Long lists of the plan that follow from the rest of it."""
RECORDED = (
    ("git", "commit"),
    ("git", "dirty"),
    ("code_sha256",),
    ("uv_lock_sha256",),
    ("image_digest",),
    ("packages", "torch"),
    ("packages", "lerobot"),
    ("packages", "mujoco"),
    ("cpu", "model"),
    ("gl_renderer",),
    ("golden_frame_sha256",),
)
"""Entries of the provenance that are named where they differ."""


def what_differs(one: Run, other: Run) -> list[str]:
    """As ``recipe.training.steps: 600 and 300``; empty where nothing does."""
    return [*differences(_plan(one), _plan(other)), *differences(_recorded(one), _recorded(other))]


def _plan(run: Run) -> dict[str, object]:
    return {key: value for key, value in run.plan.to_json().items() if key not in LEFT_OUT}


def _recorded(run: Run) -> dict[str, object]:
    return {".".join(path): run.recorded(*path) for path in RECORDED}
