"""Whether a dataset's ``meta/stats.json`` are the statistics of its states and actions."""

from pathlib import Path

import numpy as np
from lerobot.datasets import LeRobotDatasetMetadata

from wmvla.data.rows import Rows
from wmvla.errors import UserError
from wmvla.files import read_object

SHIFT = 0.25
"""How far the mean of normalised data may lie from 0, in standard deviations."""
SPREAD = (0.75, 1.25)
"""What the standard deviation of normalised data may be. Statistics of the data themselves give 1;
those of float32 sums, E[x2] - E[x]2, and those cut to whole numbers give anything."""
EPSILON = 1e-8
"""What LeRobot adds to a standard deviation before it divides by it."""
FIX = (
    "make the statistics again, with `lerobot-edit-dataset --operation.type=recompute_stats`, or"
    " fetch the dataset again."
)


def refuse_other_than_numbers(path: Path) -> None:
    """Refuse statistics, of whatever feature, that are no arrays of numbers.

    Raises:
        UserError: naming the key.
    """
    for key, values in read_object(path).items():
        for name, value in values.items() if isinstance(values, dict) else [("", None)]:
            try:
                sound = np.asarray(value).dtype.kind in "biuf"
            except ValueError:
                sound = False
            if not sound:
                raise UserError(f"{path}: {key}.{name} is no array of numbers: {FIX}")


def refuse_unsound_statistics(metadata: LeRobotDatasetMetadata, rows: Rows) -> None:
    """Refuse statistics of states and actions that are missing, or that the data contradict.

    Raises:
        UserError: naming the key and the dimension.
    """
    path = Path(metadata.root) / "meta" / "stats.json"
    if metadata.stats is None:
        raise UserError(f"{path} is missing: {FIX}")
    for key, data in (("observation.state", rows.state), ("action", rows.action)):
        known = metadata.stats.get(key)
        if not isinstance(known, dict):
            raise UserError(f"{path}: {key} is missing: {FIX}")
        found: dict[str, np.ndarray] = {}
        for name in ("mean", "std"):
            if name not in known:
                raise UserError(f"{path}: {key}.{name} is missing: {FIX}")
        for name in known:
            if name != "count":
                found[name] = _vector(path, f"{key}.{name}", known[name], data.shape[1])
        _refuse_contradicted(path, key, found, data.astype(np.float64))


def _vector(path: Path, name: str, values: object, width: int) -> np.ndarray:
    found = np.asarray(values, np.float64).reshape(-1)
    if len(found) != width:
        raise UserError(
            f"{path}: {name} has {len(found)} numbers, but meta/info.json says {width}: {FIX}"
        )
    if not np.isfinite(found).all():
        raise UserError(f"{path}: {name} is not finite: {FIX}")
    return found


def _refuse_contradicted(
    path: Path, key: str, known: dict[str, np.ndarray], data: np.ndarray
) -> None:
    """A dimension that never changes has no spread to speak of: only its mean is looked at."""
    low, high = data.min(0), data.max(0)
    scale = known["std"] + EPSILON
    shift, spread = (data.mean(0) - known["mean"]) / scale, data.std(0) / scale
    constant = low == high
    room = 0.01 * (high - low)
    wrong = {
        "mean": np.abs(shift) > np.where(constant, 1, SHIFT),
        "std": (known["std"] < 0) | (~constant & ((spread < SPREAD[0]) | (spread > SPREAD[1]))),
        "min": low < known.get("min", low) - room,
        "max": high > known.get("max", high) + room,
    }
    right = {"mean": data.mean(0), "std": data.std(0), "min": low, "max": high}
    for name in ("std", "mean", "min", "max"):
        for place in np.flatnonzero(wrong[name])[:1]:
            raise UserError(
                f"{path}: {key}.{name}[{place}] is {known[name][place]:g}, but that of the data is"
                f" {right[name][place]:g}: {FIX}"
            )
