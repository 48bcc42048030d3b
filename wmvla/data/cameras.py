"""Which camera of a dataset or policy is the front and which the wrist: by its name, never by its
place."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lerobot.configs import FeatureType
from lerobot.utils.feature_utils import dataset_to_policy_features

from wmvla.errors import UserError

if TYPE_CHECKING:
    from lerobot.datasets import LeRobotDatasetMetadata

WRIST = re.compile(r"wrist|hand|gripper")
FRONT = (
    re.compile(r"front|agentview"),
    re.compile(r"front|agentview|base|main|image|camera_?1|top|exterior"),
)
"""Names of a front camera: what says so, and what else is one if only one has such a name."""


def camera_keys(metadata: "LeRobotDatasetMetadata") -> list[str]:
    """Feature keys of the cameras, in the dataset's order."""
    features = dataset_to_policy_features(metadata.features)
    return [key for key, feature in features.items() if feature.type is FeatureType.VISUAL]


def world_cameras(keys: Sequence[str], camera: str, whose: str) -> list[str]:
    """Feature keys of the world camera(s) ``front``, ``wrist`` or ``both`` among ``keys``.

    A camera whose name speaks of a wrist, hand or gripper is the wrist; of names that differ in a
    number alone, as LIBERO's ``image`` and ``image2``, the first is the front and the second the
    wrist.

    Args:
        whose: for messages.

    Raises:
        UserError: the names do not say it.
    """
    if camera not in ("front", "wrist", "both"):
        raise UserError(
            f"policy.world_camera = {camera!r} is unknown: choose front, wrist or both."
        )
    known = {"front": _front(keys), "wrist": _wrist(keys)}
    wanted = [known[name] for name in (["front", "wrist"] if camera == "both" else [camera])]
    found = [key for key in wanted if key is not None]
    if len(found) != len(wanted):
        raise UserError(
            f"policy.world_camera = {camera!r}, but the names of the cameras of {whose} do not say"
            f" which that is: {', '.join(keys)}; one named front and one named wrist would."
        )
    return found


def _front(keys: Sequence[str]) -> str | None:
    others = [key for key in keys if not WRIST.search(_name(key))]
    if len(others) > 1 and (numbered := _numbered(others)):
        return numbered[0]
    if len(others) == 1:
        return others[0]
    for names in FRONT:
        if len(found := [key for key in others if names.search(_name(key))]) == 1:
            return found[0]
    return None


def _wrist(keys: Sequence[str]) -> str | None:
    named = [key for key in keys if WRIST.search(_name(key))]
    if not named and len(numbered := _numbered(keys)) > 1:
        return numbered[1]
    return named[0] if len(named) == 1 else None


def _numbered(keys: Sequence[str]) -> list[str]:
    """``keys`` in the order of their numbers, where they differ in those alone; else none."""
    parts = {key: re.fullmatch(r"(.*?)_?(\d*)", _name(key)) for key in keys}
    stems = {part[1] for part in parts.values() if part}
    return sorted(keys, key=lambda key: int(parts[key][2] or 0)) if len(stems) == 1 else []  # type: ignore[index]


def _name(key: str) -> str:
    return key.rpartition(".")[2].lower()
