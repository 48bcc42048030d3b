"""What a plan needs of the hub: found in the caches where LeRobot and `hf download` leave it, file
by file."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_run import core_plan, plan_of

from bench import cli
from bench.forecast import hub
from bench.forecast.hub import Needed, find_folder, needed_by, split_name
from wmvla.sim.control.scenes import PREFIX

VLM = "HuggingFaceTB/SmolVLM2-500M-Instruct"
NORMALIZER = "policy_preprocessor_step_5_normalizer_processor.safetensors"
PROCESSOR = json.dumps(
    {"steps": [{"registry_name": "device_processor"}, {"state_file": NORMALIZER}]}
)
CHECKPOINT = {
    "config.json": json.dumps({"vlm_model_name": VLM, "load_vlm_weights": True}),
    "model.safetensors": "",
    "policy_preprocessor.json": PROCESSOR,
    "policy_postprocessor.json": "{}",
    NORMALIZER: "",
}
LANGUAGE_MODEL = dict.fromkeys(
    (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "processor_config.json",
    ),
    "{}",
)
ENCODER = {
    "config.json": "{}",
    "model.safetensors.index.json": json.dumps(
        {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    ),
    "model-1.safetensors": "",
    "model-2.safetensors": "",
    "video_preprocessor_config.json": "{}",
}
DATASET = {
    "meta/info.json": json.dumps({"total_frames": 5}),
    "meta/stats.json": "{}",
    "meta/tasks.parquet": "",
    "meta/episodes/chunk-000/file-000.parquet": "",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty HF_HOME."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_LEROBOT_HOME", raising=False)
    for name in hub.OFFLINE:  # so that what a test sets is taken back
        monkeypatch.setenv(name, os.environ.get(name, "0"))
    return tmp_path


def put(
    cache: Path,
    kind: str,
    repo_id: str,
    files: dict[str, str],
    ref: str = "main",
    commit: str = "abc",
) -> Path:
    """Files of a repository as the hub's own cache lays them out."""
    folder = cache / f"{kind}s--{repo_id.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / ref).write_text(commit)
    return write(folder / "snapshots" / commit, files)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def data(folder: Path, rows: int, file: str = "file-000") -> None:
    path = folder / "data" / "chunk-000" / f"{file}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"index": list(range(rows))}), path)


def put_everything(home: Path) -> None:
    data(put(home / "hub", "dataset", "HuggingFaceVLA/libero", DATASET), 5)
    put(home / "hub", "model", "HuggingFaceVLA/smolvla_libero", CHECKPOINT)
    put(home / "hub", "model", VLM, LANGUAGE_MODEL)
    put(home / "hub", "model", "facebook/vjepa2-vitg-fpc64-256", ENCODER)


def lacking(what: str) -> list[str]:
    (needed,) = (each for each in needed_by(core_plan("full")) if each.what == what)
    return needed.missing


def test_with_everything_in_the_caches_nothing_is_missing(home: Path) -> None:
    assert [needed.what for needed in needed_by(core_plan("full")) if needed.missing] == [
        "dataset",
        "checkpoint",
        "vision-language model",
        "world encoder",
    ]
    put_everything(home)
    needs = needed_by(core_plan("full"))
    assert [needed.name for needed in needs[1:]] == [
        "HuggingFaceVLA/libero",
        "HuggingFaceVLA/smolvla_libero",
        VLM,
        "facebook/vjepa2-vitg-fpc64-256",
    ]
    assert [needed.missing for needed in needs] == [[]] * 5
    assert [needed.what for needed in needed_by(core_plan("full", arms=("E0",)))][1:] == [
        "dataset",
        "checkpoint",
        "vision-language model",
    ]


@pytest.mark.parametrize(
    ("what", "file", "told"),
    [
        ("checkpoint", NORMALIZER, NORMALIZER),
        ("checkpoint", "model.safetensors", "model.safetensors or model.safetensors.index.json"),
        ("vision-language model", "tokenizer.json", "tokenizer.json"),
        ("world encoder", "model-2.safetensors", "model-2.safetensors"),
        ("dataset", "data/chunk-000/file-000.parquet", "data/*/*.parquet (5 frames)"),
        ("dataset", "meta/stats.json", "meta/stats.json"),
        ("dataset", "meta/episodes/chunk-000/file-000.parquet", "meta/episodes/*/*.parquet"),
    ],
)
def test_a_single_file_that_is_missing_is_named(
    home: Path, what: str, file: str, told: str
) -> None:
    put_everything(home)
    (path,) = [
        path
        for each in needed_by(core_plan("full"))
        if each.what == what
        for path in each.folder.rglob(file)
    ]
    path.unlink()
    assert lacking(what) == [told]


def test_a_pointer_of_git_lfs_is_not_the_file(home: Path) -> None:
    put_everything(home)
    folder = find_folder("HuggingFaceVLA/smolvla_libero", "model")
    assert folder is not None
    (folder / NORMALIZER).write_text("version https://git-lfs.github.com/spec/v1\nsize 12\n")
    assert lacking("checkpoint") == [NORMALIZER]


def test_a_download_that_was_cut_off_is_seen(home: Path) -> None:
    put_everything(home)
    folder = find_folder("HuggingFaceVLA/libero", "dataset")
    assert folder is not None
    data(folder, 3)
    assert lacking("dataset") == ["data/*/*.parquet (5 frames)"]
    data(folder, 2, "file-001")
    assert lacking("dataset") == []
    (folder / "data" / "chunk-000" / "file-001.parquet").write_bytes(b"PAR1 and no more")
    assert lacking("dataset") == ["data/*/*.parquet (5 frames)"]


def test_videos_are_needed_where_a_camera_is_stored_so(home: Path) -> None:
    put_everything(home)
    folder = find_folder("HuggingFaceVLA/libero", "dataset")
    assert folder is not None
    write(
        folder,
        {
            "meta/info.json": json.dumps(
                {"total_frames": 5, "features": {"front": {"dtype": "video"}}}
            )
        },
    )
    assert lacking("dataset") == ["videos/front/*/*.mp4"]
    write(folder, {"videos/front/chunk-000/file-000.mp4": ""})
    assert lacking("dataset") == []


def test_weights_of_the_language_model_are_needed_only_where_they_are_loaded(home: Path) -> None:
    fields = json.dumps({"vlm_model_name": VLM, "load_vlm_weights": False})
    put(
        home / "hub",
        "model",
        "HuggingFaceVLA/smolvla_libero",
        {**CHECKPOINT, "config.json": fields},
    )
    put(
        home / "hub",
        "model",
        VLM,
        {name: text for name, text in LANGUAGE_MODEL.items() if name != "model.safetensors"},
    )
    assert lacking("vision-language model") == []


PLACES: dict[str, Callable[[Path], Path]] = {
    "hf download": lambda home: put(home / "hub", "dataset", "a/b", DATASET),
    "LeRobot's cache": lambda home: put(
        home / "lerobot" / "hub", "dataset", "a/b", DATASET, ref="v3.0"
    ),
    "LeRobot's folder": lambda home: write(home / "lerobot" / "a" / "b", DATASET),
    "hf download --local-dir": lambda home: write(
        home / "lerobot" / "a" / "b", {**DATASET, ".cache/huggingface/download/x": ""}
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_dataset_is_found_wherever_it_is_left(home: Path, place: str) -> None:
    assert find_folder("a/b", "dataset") is None
    folder = PLACES[place](home)
    assert find_folder("a/b", "dataset") == folder


def test_a_pinned_revision_is_that_one_or_none(home: Path) -> None:
    newest = put(home / "hub", "model", "a/b", {"config.json": "{}"}, commit="1" * 40)
    pinned = put(home / "hub", "model", "a/b", {"config.json": "{}"}, ref="v1", commit="2" * 40)
    assert find_folder("a/b", "model") == newest
    assert find_folder("a/b@v1", "model") == find_folder(f"a/b@{'2' * 40}", "model") == pinned
    assert find_folder(f"a/b@{'3' * 40}", "model") is None
    write(home / "lerobot" / "c" / "d", DATASET)
    assert find_folder("c/d@v1", "dataset") is None, (
        "nobody knows which revision lies in a plain folder"
    )
    assert (split_name("a/b"), split_name("a/b@v1")) == (("a/b", None), ("a/b", "v1"))


def test_offline_lists_the_files(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "core", "--scale=full", "--machine=cpu", "--offline"]
    assert cli.main(arguments) == 1
    told = capsys.readouterr().out
    assert (
        "  in      "
        f" {home / 'hub' / 'models--facebook--vjepa2-vitg-fpc64-256' / 'snapshots' / '<commit>'}"
        in told
    )
    assert "  get      hf download facebook/vjepa2-vitg-fpc64-256" in told
    assert told.splitlines()[-1].startswith(
        "missing: HuggingFaceVLA/libero, HuggingFaceVLA/smolvla_libero, "
    )
    assert [os.environ[name] for name in hub.OFFLINE] == ["1"] * 3
    put_everything(home)
    assert cli.main(arguments) == 0
    told = capsys.readouterr().out
    assert f"  here     {NORMALIZER}" in told
    assert "get " not in told
    assert told.splitlines()[-1] == "all files are there"


def test_offline_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_everything(home)
    assert cli.main(["plan", "core", "--scale=full", "--machine=cpu", "--offline", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["complete"] is True
    assert told["run"].startswith("core-full-cpu-")
    assert told["needs"][2]["files"]["config.json"] is True
    assert set(told["needs"][0]) == set(Needed.__dataclass_fields__)


def features(*cameras: str) -> dict[str, dict[str, str]]:
    return {f"observation.images.{name}": {"type": "VISUAL"} for name in cameras}


def test_cameras_of_other_names_are_told_with_the_map_that_would_fit(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_everything(home)
    folder = find_folder("HuggingFaceVLA/smolvla_libero", "model")
    assert folder is not None
    plan = core_plan("full")
    for cameras in (("image", "image2"), ("image", "image2", "camera3")):
        write(folder, {"config.json": json.dumps({"input_features": features(*cameras)})})
        assert hub.unseen_cameras(plan) == []
    numbered = features("camera1", "camera2", "camera3")
    write(folder, {"config.json": json.dumps({"input_features": numbered})})
    (told,) = hub.unseen_cameras(plan)
    fits = (
        'rename_map = { "observation.images.image" = "observation.images.camera1",'
        ' "observation.images.image2" = "observation.images.camera2" }'
    )
    assert f"write {fits}, or what else is right, into [scales.full.base] of suites/core" in told
    assert cli.main(["plan", "core", "--scale=full", "--machine=cpu", "--check"]) == 1
    assert fits in capsys.readouterr().out
    rename_map = {
        f"observation.images.{data}": f"observation.images.{name}"
        for data, name in (("image", "camera1"), ("image2", "camera2"))
    }
    base = dataclasses.replace(plan.recipe.base, rename_map=rename_map)
    renamed = dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, base=base))
    assert hub.unseen_cameras(renamed) == []
    assert renamed.hash != plan.hash
    step = {"registry_name": hub.RENAMES, "config": {"rename_map": rename_map}}
    write(folder, {"policy_preprocessor.json": json.dumps({"steps": [step]})})
    assert hub.unseen_cameras(plan) == [], "it was trained with that map"


def test_the_control_scenes_need_nothing(home: Path) -> None:
    assert hub.CONTROL_SCENES == PREFIX
    assert needed_by(plan_of("controls")) == []
