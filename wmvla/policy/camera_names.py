"""Whether every camera that a policy reads is given an image, by name."""

import json
from collections.abc import Mapping

from lerobot.configs import PreTrainedConfig

from wmvla.errors import UserError

PLAYED_WITH_FEWER_CAMERAS = frozenset(
    {"pi0", "pi05", "pi0_fast", "smolvla", "smolvla_world", "wall_x", "xvla"}
)
"""Types that take the images of those of their cameras that there are; seen in LeRobot 0.6.1's
code. The others cannot do without one."""


def check_cameras(config: PreTrainedConfig, provided: Mapping[str, str]) -> list[str]:
    """Every camera that the policy reads gets an image, by name.

    Args:
        provided: an image's name in the data -> the name under which the policy is given it.

    Returns:
        the cameras that stay without an image, because there are no more images and the policy can
        do without: to be reported.

    Raises:
        UserError: two images have one name, or a camera stays without one.
    """
    names = list(provided.values())
    if twice := [name for name in names if names.count(name) > 1]:
        both = " and ".join(data for data, name in provided.items() if name == twice[0])
        raise UserError(
            f"--rename_map: {both} would both be {twice[0]}: give every image a name of its own."
        )
    empty = getattr(config, "empty_cameras", 0)
    padding = {f"observation.images.empty_camera_{number}" for number in range(empty)}
    lacking = [key for key in config.image_features if key not in names and key not in padding]
    unused = [data for data, name in provided.items() if name not in config.image_features]
    if lacking and unused:
        fits = {data: name for data, name in provided.items() if data not in unused}
        fits |= dict(zip(unused, lacking, strict=False))
        raise UserError(
            f"{config.pretrained_path} reads {', '.join(lacking)}, which get no image, while"
            f" {', '.join(unused)} would be left out: give --rename_map="
            f"'{json.dumps(fits)}' or what else is right."
        )
    if lacking and config.type not in PLAYED_WITH_FEWER_CAMERAS:
        raise UserError(
            f"{config.pretrained_path} reads {', '.join(lacking)}, and there are only"
            f" {', '.join(names)}: a {config.type} cannot do without one of its cameras."
        )
    return lacking
