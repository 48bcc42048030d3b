"""The one way in which this project opens a LeRobotDataset: what is not whole is refused here."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from datasets.exceptions import DatasetsError
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from lerobot.datasets import LeRobotDataset, LeRobotDatasetMetadata
from lerobot.datasets.dataset_metadata import CODEBASE_VERSION
from lerobot.datasets.utils import CompatibilityError
from lerobot.utils.constants import HF_LEROBOT_HOME, HF_LEROBOT_HUB_CACHE

from wmvla.data.cameras import camera_keys
from wmvla.data.lerobot_files import read_as_stored
from wmvla.data.rows import Rows, read_rows
from wmvla.data.statistics import refuse_other_than_numbers, refuse_unsound_statistics
from wmvla.data.videos import refuse_contradicting_videos
from wmvla.errors import UserError, cause
from wmvla.files import read_object

CONVERTER = "python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id={} --root={}"


def open_metadata(root: Path | None, repo_id: str) -> LeRobotDatasetMetadata:
    """The dataset's metadata.

    Args:
        root: the dataset's folder; None: LeRobot's own folder, the hub, or its caches on this disk.

    Raises:
        UserError: no such dataset, the hub cannot be reached for it, or its metadata are not whole.
    """
    return locate(root, repo_id, None)[0]


def open_dataset(
    repo_id: str, root: Path | None, revision: str | None = None
) -> tuple[LeRobotDataset, Rows]:
    """The dataset itself, and its numbers, every one of them looked at.

    Raises:
        UserError: as ``open_metadata``, and where frames are missing or not sound.
    """
    metadata, place = locate(root, repo_id, revision)
    # pyav, because torchcodec needs shared libraries of FFmpeg that a wheel does not bring
    with fetching(repo_id, root), read_as_stored():
        try:
            dataset = LeRobotDataset(repo_id, root=place, revision=revision, video_backend="pyav")
        except DatasetsError:
            read_rows(metadata)  # says which file and why, where its numbers are the reason
            raise
    rows = read_rows(dataset.meta)
    refuse_unsound_statistics(dataset.meta, rows)
    refuse_contradicting_videos(dataset.meta)
    return dataset, rows


def locate(
    root: Path | None, repo_id: str, revision: str | None
) -> tuple[LeRobotDatasetMetadata, Path | None]:
    """The metadata, and the folder that LeRobot has to be given for the rest."""
    if root is not None and not (root / "meta" / "info.json").is_file():
        raise UserError(f"{root} is not a LeRobotDataset: make the demonstrations first.")
    folder = root or HF_LEROBOT_HOME / repo_id
    if (folder / "meta" / "info.json").is_file():
        _refuse_unreadable(folder, repo_id)
    with fetching(repo_id, root), read_as_stored():
        try:
            metadata = LeRobotDatasetMetadata(repo_id, root=root, revision=revision)
        except (ConnectionError, httpx.HTTPError):
            cached = None if root else _cached(repo_id, revision)
            if cached is None:
                raise
            _refuse_unreadable(cached, repo_id)
            root, metadata = cached, LeRobotDatasetMetadata(repo_id, root=cached, revision=revision)
    _refuse_unsound(metadata)
    return metadata, root


@contextmanager
def fetching(repo_id: str, root: Path | None) -> Iterator[None]:
    """What LeRobot raises when it looks for a dataset's files, on the disk and then on the hub,
    becomes one sentence."""
    try:
        yield
    except CompatibilityError as error:
        raise UserError(_older(repo_id, repo_id, "a version before 3.0", root)) from error
    except (FileNotFoundError, ConnectionError, httpx.HTTPError, HFValidationError) as error:
        where = (
            f"Files of the dataset {repo_id} are not in {root}"
            if root
            else f"The dataset {repo_id} is not on this disk"
        )
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{where}, and they cannot be fetched from the hub ({reason}): set dataset.repo_id "
            "and dataset.root."
        ) from error
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        raise UserError(
            f"{root or repo_id}: LeRobot cannot open this dataset ({cause(error)}): its meta/ and"
            " its files contradict each other; fetch the dataset again."
        ) from error


def _cached(repo_id: str, revision: str | None) -> Path | None:
    """A dataset in one of the hub's caches on this disk.

    Non-obvious: LeRobot asks the hub which version there is before it looks at its own cache, and
    never looks at that of ``huggingface_hub``.
    """
    for cache in (HF_LEROBOT_HUB_CACHE, Path(constants.HF_HUB_CACHE)):
        for wanted in [revision] if revision else [CODEBASE_VERSION, "main"]:
            try:
                found = snapshot_download(
                    repo_id,
                    repo_type="dataset",
                    revision=wanted,
                    cache_dir=cache,
                    local_files_only=True,
                )
            except (LocalEntryNotFoundError, HFValidationError):
                continue
            if (Path(found) / "meta" / "info.json").is_file():
                return Path(found)
    return None


def _refuse_unreadable(folder: Path, repo_id: str) -> None:
    path = folder / "meta" / "info.json"
    info = read_object(path)
    version = info.get("codebase_version")
    if not isinstance(version, str) or not isinstance(info.get("features"), dict):
        raise UserError(
            f"{path} is not the description of a LeRobotDataset (it lacks codebase_version or"
            " features): fetch it again."
        )
    if not version.startswith("v3."):
        raise UserError(_older(str(path), repo_id, f"codebase_version {version}", folder))
    for key, feature in info["features"].items():
        shape = feature.get("shape") if isinstance(feature, dict) else None
        whole = isinstance(shape, list) and all(type(n) is int and n > 0 for n in shape)
        if not whole or not isinstance(feature.get("dtype"), str):
            raise UserError(
                f"{path}: features.{key} has no dtype, or no shape of whole numbers: correct it, or"
                " fetch the dataset again."
            )
    if (statistics := folder / "meta" / "stats.json").exists():
        refuse_other_than_numbers(statistics)


def _older(where: str, repo_id: str, version: str, root: Path | None) -> str:
    converter = CONVERTER.format(repo_id, root or "FOLDER")
    return (
        f"{where}: {version} cannot be read, LeRobot reads {CODEBASE_VERSION}: convert it with"
        f" `{converter}`."
    )


def _refuse_unsound(metadata: LeRobotDatasetMetadata) -> None:
    """Refuse a dataset without episodes or tasks, or whose features have other names than LeRobot's
    policies read."""
    info = Path(metadata.root) / "meta" / "info.json"
    if metadata.total_episodes < 1 or metadata.total_frames < 1 or metadata.episodes is None:
        raise UserError(
            f"{info}: total_episodes = {metadata.total_episodes}, total_frames ="
            f" {metadata.total_frames}: the dataset has no episodes; record some, or fetch it"
            " again."
        )
    if metadata.tasks is None or not len(metadata.tasks):
        raise UserError(
            f"{info}: total_tasks = {metadata.total_tasks}: the dataset has no sentence for its"
            " frames; fetch it again."
        )
    cameras = camera_keys(metadata)
    wrong = [key for key in cameras if not key.startswith("observation.image")]
    absent = [key for key in ("observation.state", "action") if key not in metadata.features]
    if wrong or absent or not cameras:
        raise UserError(
            f"{info}: the features are {', '.join(metadata.features)}, but a policy reads"
            " observation.state, action and cameras named observation.images.NAME: rename them in"
            " meta/info.json, meta/stats.json and the columns of data/ and meta/episodes."
        )
