"""Whether a dataset's ``meta/stats.json`` are statistics, and those of its states and actions."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

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
STATISTIC = re.compile(r"min|max|mean|std|count|q\d\d")
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
    """Refuse statistics of states and actions that are missing, or that the data contradict, and
    those of any feature that no data have.

    Raises:
        UserError: naming the key, and the dimension where it is one.
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
    for key, values in metadata.stats.items():
        if key not in metadata.features:
            raise UserError(f"{path}: {key} is no feature of meta/info.json: {FIX}")
        _refuse_implausible(path, key, values, list(metadata.features[key]["shape"]))


def _refuse_implausible(path: Path, key: str, values: dict[str, Any], shape: list[int]) -> None:
    """Statistics of one feature, of an image too, that no data have."""
    found: dict[str, np.ndarray] = {}
    for name, value in values.items():
        if not STATISTIC.fullmatch(name):
            raise UserError(f"{path}: {key}.{name} is no statistic that is known: {FIX}")
        width = int(np.prod(shape))
        if name == "count":
            width = 1
        elif len(shape) == 3:  # of an image, one number for each channel
            width = shape[0] if np.size(value) == shape[0] else shape[-1]
        found[name] = _vector(path, f"{key}.{name}", value, width)
    for name, fault in _impossible(found):
        raise UserError(f"{path}: {key}.{name} {fault}: {FIX}")


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


def _impossible(found: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    """Statistics of one feature that contradict its least and greatest value, with the rest of a
    sentence; with room for rounding, and for quantiles that were averaged over episodes."""
    if "count" in found and not found["count"] >= 1:
        yield "count", f"is {found['count'][0]:g}"
    if not {"min", "max"} <= found.keys():
        return
    low, high = found["min"], found["max"]
    room = 0.01 * np.abs(high - low) + 1e-4 * np.maximum(np.abs(low), np.abs(high)) + 1e-6
    if (low > high).any():
        yield "min", "is greater than max"
    for name, values in found.items():
        if name == "std" and ((values < 0) | (values > high - low + room)).any():
            yield name, "is negative, or greater than max - min"
        outside = (values < low - room) | (values > high + room)
        if name not in ("count", "std") and outside.any():
            yield name, "is not between min and max"
    quantiles = sorted(name for name in found if name.startswith("q"))
    for less, more in pairwise(quantiles):
        if (found[less] > found[more] + room).any():
            yield less, f"is greater than {more}"
