"""What a published dataset must be before any training: the simulation's data, in order."""

from pathlib import Path
from typing import TYPE_CHECKING

from wmvla.errors import UserError

if TYPE_CHECKING:
    from lerobot.datasets import LeRobotDatasetMetadata

    from wmvla.recipe import Environment


def refuse_other_data(metadata: "LeRobotDatasetMetadata", environment: "Environment") -> None:
    """Compare a dataset's cameras, widths, instructions and order of frames with the simulation.

    UserError: it is the data of another robot or of other tasks, or its frames are not in order.
    """
    from wmvla.data.cameras import camera_keys
    from wmvla.data.episodes import ends_of, ends_of_frames
    from wmvla.sim.libero.env import ACTION_DIM, STATE_DIM
    from wmvla.sim.libero.fast.cameras import MUJOCO_CAMERAS
    from wmvla.sim.suites import sentence

    def width(key: str) -> object:
        return metadata.features.get(key, {}).get("shape", [0])[0]

    cameras = [f"observation.images.{name}" for name in MUJOCO_CAMERAS]
    for what, found, wanted in (
        ("cameras", sorted(camera_keys(metadata)), cameras),
        ("numbers in a state", width("observation.state"), STATE_DIM),
        ("numbers in an action", width("action"), ACTION_DIM),
    ):
        if found != wanted:
            raise UserError(
                f"dataset {metadata.repo_id}: {what}: {found}, but {environment.suite} has {wanted}"
            )
    known = {str(task) for task in metadata.tasks.index}
    for task in environment.tasks:
        if (instruction := sentence(environment, task)) not in known:
            raise UserError(
                f"dataset {metadata.repo_id} has no demonstrations of task {task} of "
                f"{environment.suite} ('{instruction}')"
            )
    ends, held = ends_of(metadata), ends_of_frames(Path(metadata.root))
    if ends.tolist() != held.tolist():
        raise UserError(
            f"{metadata.root}: its {len(held)} data episodes are not as long as meta/episodes says:"
            " fetch the dataset again"
        )
