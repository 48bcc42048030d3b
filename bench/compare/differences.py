"""Where two JSON documents, or two runs beside their episodes, differ."""

import json
from collections.abc import Iterator

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


def differences(one: object, other: object, key: str = "") -> Iterator[str]:
    """Where two JSON documents differ, as ``recipe.training.steps: 600 and 300``."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            if not (key == "" and name == "hash"):
                inner = f"{key}.{name}" if key else str(name)
                yield from differences(one.get(name), other.get(name), inner)
    elif one != other:
        texts = (json.dumps(one), json.dumps(other))
        left, right = (text if len(text) <= 60 else f"{text[:57]}..." for text in texts)
        yield f"{key}: {left} and {right}"
