"""In what two runs differ besides their episodes: the plan, and what their provenance tells of code, machine and renderer."""

from bench.parity import Run, differences

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
    plans = [{key: value for key, value in run.plan.to_json().items() if key not in LEFT_OUT} for run in (one, other)]
    records = [{".".join(path): _entry(run, path) for path in RECORDED} for run in (one, other)]
    return [*differences(*plans), *differences(*records)]


def _entry(run: Run, path: tuple[str, ...]) -> object:
    """None where it is not recorded."""
    found: object = run.provenance
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found
