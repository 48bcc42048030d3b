"""Whether the episodes of a LeRobotDataset lie in its videos where ``meta/episodes`` says."""

from itertools import pairwise
from pathlib import Path

from lerobot.datasets import LeRobotDatasetMetadata
from lerobot.datasets.video_utils import get_video_duration_in_s

from wmvla.data.lerobot_files import of_episodes
from wmvla.errors import UserError
from wmvla.files import why_unreadable


def refuse_contradicting_videos(metadata: LeRobotDatasetMetadata) -> None:
    """Refuse times of episodes that contradict their lengths, each other or the video's end, by
    half a frame or more.

    Raises:
        UserError: naming video, episode and seconds.
    """
    if not metadata.video_keys:
        return
    episodes, half = metadata.episodes, 0.5 / metadata.fps
    lengths = of_episodes(episodes, "length")
    for key in metadata.video_keys:
        begin = of_episodes(episodes, f"videos/{key}/from_timestamp")
        end = of_episodes(episodes, f"videos/{key}/to_timestamp")
        held: dict[Path, list[int]] = {}
        for number in range(len(lengths)):
            path = Path(metadata.root) / metadata.get_video_file_path(number, key)
            held.setdefault(path, []).append(number)
        for path, numbers in held.items():
            numbers.sort(key=lambda number: begin[number])
            try:
                seconds = get_video_duration_in_s(path)
            except FileNotFoundError as error:
                raise UserError(f"{path} is missing: fetch the dataset again.") from error
            except Exception as error:
                raise UserError(why_unreadable(path, error)) from error
            for number in numbers:
                lasts = lengths[number] / metadata.fps
                if not abs(end[number] - begin[number] - lasts) < half or begin[number] < -half:
                    _refuse(path, number, begin[number], end[number], f"but lasts {lasts:g} s")
                if end[number] > seconds + half:
                    _refuse(path, number, begin[number], end[number], f"of {seconds:g} s")
            for one, other in pairwise(numbers):
                if begin[other] < end[one] - half:
                    after = f"before episode {one} ends at {end[one]:g} s"
                    _refuse(path, other, begin[other], end[other], after)


def _refuse(path: Path, episode: int, begin: float, end: float, contradiction: str) -> None:
    raise UserError(
        f"{path}: meta/episodes puts episode {episode} at {begin:g} s to {end:g} s of this video,"
        f" {contradiction}: correct its timestamps, or fetch the dataset again."
    )
