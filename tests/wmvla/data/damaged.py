"""Makes of a good dataset what users met in public reports: each function changes a copy in
place."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"


def change_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_column(dataset: Path, key: str, change: Callable[[list[Any]], Any]) -> None:
    """A column of the frames; ``change`` works in the list of its values."""
    (path,) = dataset.glob("data/*/file-000.parquet")
    table = pq.read_table(path)
    values = table[key].to_pylist()
    change(values)
    column = pa.array(values, table[key].type)
    pq.write_table(table.set_column(table.column_names.index(key), key, column), path)


def info(dataset: Path, **changes: Any) -> None:
    change_json(dataset / "meta/info.json", lambda content: content.update(changes))


def statistics(dataset: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    change_json(dataset / "meta/stats.json", change)


def version_2_1(dataset: Path) -> None:
    info(dataset, codebase_version="v2.1")
    shutil.rmtree(dataset / "meta/episodes")
    (dataset / "meta/tasks.parquet").unlink()
    (dataset / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "pick up the milk"}\n')


def pointer_tasks(dataset: Path) -> None:
    (dataset / "meta/tasks.parquet").write_text(POINTER)


def pointer_data(dataset: Path) -> None:
    next(dataset.glob("data/*/*.parquet")).write_text(POINTER)


def pointer_statistics(dataset: Path) -> None:
    (dataset / "meta/stats.json").write_text(POINTER)


def half_a_parquet(dataset: Path) -> None:
    path = next(dataset.glob("data/*/*.parquet"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty_parquet(dataset: Path) -> None:
    next(dataset.glob("data/*/*.parquet")).write_bytes(b"")


def half_the_episodes(dataset: Path) -> None:
    path = next(dataset.glob("meta/episodes/*/*.parquet"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def half_an_info(dataset: Path) -> None:
    path = dataset / "meta/info.json"
    path.write_text(path.read_text()[:100])


def no_features(dataset: Path) -> None:
    change_json(dataset / "meta/info.json", lambda content: content.pop("features"))


def no_episodes(dataset: Path) -> None:
    info(dataset, total_episodes=0, total_frames=0, total_tasks=0)


def no_tasks(dataset: Path) -> None:
    info(dataset, total_tasks=0)


def openpi_names(dataset: Path) -> None:
    """The names that openpi's conversion of LIBERO gives."""
    names = {
        "observation.images.image": "image",
        "observation.images.image2": "wrist_image",
        "observation.state": "state",
        "action": "actions",
    }
    found = json.loads((dataset / "meta/info.json").read_text())["features"]
    info(dataset, features={names.get(key, key): value for key, value in found.items()})


def no_statistics(dataset: Path) -> None:
    (dataset / "meta/stats.json").unlink()


def no_action_statistics(dataset: Path) -> None:
    statistics(dataset, lambda found: found.pop("action"))


def no_state_statistics(dataset: Path) -> None:
    statistics(dataset, lambda found: found.pop("observation.state"))


def no_action_std(dataset: Path) -> None:
    statistics(dataset, lambda found: found["action"].pop("std"))


def narrow_statistics(dataset: Path) -> None:
    statistics(dataset, lambda found: found["observation.state"]["std"].pop())


def nan_statistics(dataset: Path) -> None:
    statistics(dataset, lambda found: found["action"]["mean"].__setitem__(2, float("nan")))


def std_of_0(dataset: Path) -> None:
    statistics(dataset, lambda found: found["observation.state"].update(std=[0.0] * 8))


def std_of_whole_numbers(dataset: Path) -> None:
    """As LeRobot's normaliser keeps that of a state of type int64."""
    statistics(dataset, lambda found: found["action"].update(std=[0] * 6 + [1]))


def mean_of_other_data(dataset: Path) -> None:
    statistics(dataset, lambda found: found["action"]["mean"].__setitem__(6, 3.0))


def text_in_statistics(dataset: Path) -> None:
    statistics(dataset, lambda found: found["observation.images.image"].update(q99="high"))


def statistics_of_no_feature(dataset: Path) -> None:
    statistics(dataset, lambda found: found.update({"observation.effort": found["action"]}))


def statistics_of_a_misspelt_name(dataset: Path) -> None:
    statistics(dataset, lambda found: found["action"].update(q9=found["action"].pop("q99")))


def infinite_statistics_of_an_image(dataset: Path) -> None:
    statistics(
        dataset, lambda found: found["observation.images.image"].update(std=[[[np.inf]]] * 3)
    )


def mean_above_the_maximum(dataset: Path) -> None:
    statistics(dataset, lambda found: found["observation.images.image"].update(mean=[[[7.0]]] * 3))


def a_key_stands_twice(dataset: Path) -> None:
    path = dataset / "meta/info.json"
    path.write_text(path.read_text().replace('"fps": 20', '"fps": 10,\n"fps": 20'))


def other_frame_rate(dataset: Path) -> None:
    info(dataset, fps=50)


def shape_of_text(dataset: Path) -> None:
    change_json(
        dataset / "meta/info.json", lambda found: found["features"]["action"].update(shape=["7"])
    )


def null_action(dataset: Path) -> None:
    change_column(dataset, "action", lambda values: values[4].__setitem__(1, None))


def null_row(dataset: Path) -> None:
    change_column(dataset, "action", lambda values: values.__setitem__(4, None))


def nan_action(dataset: Path) -> None:
    change_column(dataset, "action", lambda values: values[4].__setitem__(1, float("nan")))


def infinite_state(dataset: Path) -> None:
    change_column(dataset, "observation.state", lambda values: values[9].__setitem__(0, np.inf))


def narrow_row(dataset: Path) -> None:
    path = next(dataset.glob("data/*/*.parquet"))
    table = pq.read_table(path)
    values = [row[:-1] for row in table["action"].to_pylist()]
    place = table.column_names.index("action")
    pq.write_table(table.set_column(place, "action", pa.array(values)), path)


def no_action_column(dataset: Path) -> None:
    path = next(dataset.glob("data/*/*.parquet"))
    pq.write_table(pq.read_table(path).drop_columns(["action"]), path)


def rows_are_missing(dataset: Path) -> None:
    path = next(dataset.glob("data/*/*.parquet"))
    pq.write_table(pq.read_table(path).slice(0, 30), path)


def other_task_numbers(dataset: Path) -> None:
    """Frames of task 0, and sentences of 3 and 7."""
    sentences = pd.Index(["open the drawer", "pick up the milk"], name="task")
    pd.DataFrame({"task_index": [3, 7]}, sentences).to_parquet(dataset / "meta/tasks.parquet")
    info(dataset, total_tasks=2)


def tasks_without_sentences(dataset: Path) -> None:
    pd.DataFrame({"task_index": [0]}).to_parquet(dataset / "meta/tasks.parquet")


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (version_2_1, r"meta/info.json: codebase_version v2.1 .*convert_dataset_v21_to_v30"),
    (pointer_tasks, r"meta/tasks.parquet is a Git LFS pointer.*git lfs pull"),
    (pointer_data, r"file-000.parquet is a Git LFS pointer"),
    (pointer_statistics, r"meta/stats.json is a Git LFS pointer"),
    (half_a_parquet, r"data/chunk-000/file-000.parquet cannot be read .*fetch it again"),
    (empty_parquet, r"data/chunk-000/file-000.parquet cannot be read \(it is empty\)"),
    (half_the_episodes, r"meta/episodes/chunk-000/file-000.parquet cannot be read"),
    (half_an_info, r"meta/info.json cannot be read"),
    (no_features, r"meta/info.json is not the description of a LeRobotDataset"),
    (no_episodes, r"total_episodes = 0.*no episodes"),
    (no_tasks, r"total_tasks = 0.*no sentence"),
    (openpi_names, r"the features are image, wrist_image, state, actions, .*rename them"),
    (no_statistics, r"meta/stats.json is missing.*recompute_stats"),
    (no_action_statistics, r"meta/stats.json: action is missing"),
    (no_state_statistics, r"meta/stats.json: observation.state is missing"),
    (no_action_std, r"meta/stats.json: action.std is missing"),
    (narrow_statistics, r"observation.state.std has 7 numbers, but .* says 8"),
    (nan_statistics, r"action.mean is not finite"),
    (std_of_0, r"observation.state.std\[0\] is 0, but that of the data is 0\.\d+"),
    (std_of_whole_numbers, r"action.std\[0\] is 0, but"),
    (mean_of_other_data, r"action.mean\[6\] is 3, but"),
    (text_in_statistics, r"stats.json: observation.images.image.q99 is no array of numbers"),
    (statistics_of_no_feature, r"observation.effort is no feature of meta/info.json"),
    (statistics_of_a_misspelt_name, r"action.q9 is no statistic that is known"),
    (infinite_statistics_of_an_image, r"observation.images.image.std is not finite"),
    (mean_above_the_maximum, r"observation.images.image.mean is not between min and max"),
    (a_key_stands_twice, r"info.json cannot be read \(the key 'fps' appears twice in one object\)"),
    (other_frame_rate, r"info.json: fps is 50, but the frames in data are 0.05 s apart"),
    (shape_of_text, r"info.json: features.action has no dtype, or no shape of whole numbers"),
    (null_action, r"file-000.parquet: action has 1 null values"),
    (null_row, r"file-000.parquet: action has 1 null values"),
    (nan_action, r"file-000.parquet: action\[1\] of row 4 is nan"),
    (infinite_state, r"file-000.parquet: observation.state\[0\] of row 9 is inf"),
    (narrow_row, r"action has 198 numbers in 33 rows, but meta/info.json says 7 a row"),
    (no_action_column, r"file-000.parquet.*action"),
    (rows_are_missing, r"its data hold other frames \(30\) than meta/episodes says \(33\)"),
    (other_task_numbers, r"row 0 is of task_index 0, which meta/tasks.parquet does not"),
    (tasks_without_sentences, r"meta/tasks.parquet: it does not give each task_index one"),
]
"""Damage, and what is said of it as a regular expression; docs/datasets.md has the lines."""
