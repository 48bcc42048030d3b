"""Checkpoints as people met them: each function spoils a copy of a good one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"
Tensors = dict[str, Tensor]


def copy(folder: Path, target: Path, *changes: Callable[[Path], None]) -> Path:
    """A copy of ``folder``, changed."""
    shutil.copytree(folder, target)
    for change in changes:
        change(target)
    return target


def edit_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def edit_tensors(file: Path, change: Callable[[Tensors], Tensors]) -> None:
    changed = {name: value.clone() for name, value in change(load_file(file)).items()}
    save_file(changed, file, metadata={"format": "pt"})


def statistics(folder: Path) -> list[Path]:
    return sorted(folder.glob("policy_*normalizer_processor.safetensors"))


def inputs(folder: Path) -> dict[str, dict]:
    return json.loads((folder / "config.json").read_text())["input_features"]


def official_style(folder: Path) -> None:
    """Three cameras and a state of 6 numbers in the configuration; statistics and weights of 8."""
    image = inputs(folder)["observation.images.image"]
    cameras = {f"observation.images.camera{number}": image for number in (1, 2, 3)}
    state = {"observation.state": {"type": "STATE", "shape": [6]}}
    edit_json(folder / "config.json", input_features=state | cameras)


def renamed_cameras(folder: Path) -> None:
    names = {
        "observation.images.image": "observation.images.camera1",
        "observation.images.image2": "observation.images.camera2",
    }
    renamed = {names.get(key, key): value for key, value in inputs(folder).items()}
    edit_json(folder / "config.json", input_features=renamed)


def foreign_statistics_keys(folder: Path) -> None:
    for file in statistics(folder):
        edit_tensors(file, lambda found: {f"so100.buffer.{key}": v for key, v in found.items()})


def without_action_statistics(folder: Path) -> None:
    for file in statistics(folder):
        edit_tensors(
            file, lambda found: {k: v for k, v in found.items() if not k.startswith("action.")}
        )


def without_a_state_file(folder: Path) -> None:
    """The processor does not say where its statistics lie, and LeRobot looks no further."""
    file = folder / "policy_postprocessor.json"
    content = json.loads(file.read_text())
    for step in content["steps"]:
        step.pop("state_file", None)
    file.write_text(json.dumps(content))


def _action_std(change: Callable[[Tensor], Tensor]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for file in statistics(folder):
            edit_tensors(
                file,
                lambda found: {k: change(v) if k == "action.std" else v for k, v in found.items()},
            )

    return spoil


nan_statistics = _action_std(lambda std: std * torch.nan)
statistics_of_integers = _action_std(torch.zeros_like)


def six_wide_statistics(folder: Path) -> None:
    for file in statistics(folder):
        edit_tensors(
            file,
            lambda found: {
                k: v[:6] if v.ndim == 1 and len(v) in (7, 8) else v for k, v in found.items()
            },
        )


def six_wide_state_statistics(folder: Path) -> None:
    for file in statistics(folder):
        edit_tensors(
            file,
            lambda found: {
                k: v[:6] if v.ndim == 1 and k.startswith("observation.state") else v
                for k, v in found.items()
            },
        )


JOINT_ANGLES = {
    "mean": [-0.016, 0.319, -0.046, -2.014, 0.012, 2.268, 0.702, 0.032],
    "std": [0.134, 0.171, 0.24, 0.248, 0.108, 0.206, 0.425, 0.005],
}
"""Statistics of a Panda's joint angles and first finger in our expert's demonstrations."""
GRIPPER = {"min": 0.0, "max": 1.0, "mean": 0.4, "std": 0.49}


def joint_angles(folder: Path) -> None:
    """Trained on states of joint angles, which are eight numbers too."""
    known = {f"observation.state.{k}": torch.tensor(v) for k, v in JOINT_ANGLES.items()}
    for file in statistics(folder):
        edit_tensors(file, lambda found: found | known)


def gripper_of_0_and_1(folder: Path) -> None:
    """Trained on actions whose gripper is 0 or 1."""

    def change(found: Tensors) -> Tensors:
        last = {f"action.{name}": value for name, value in GRIPPER.items()}
        return {
            k: torch.cat([v[:6], torch.tensor([last[k]])]) if k in last else v
            for k, v in found.items()
        }

    for file in statistics(folder):
        edit_tensors(file, change)


def ddp_prefix(folder: Path) -> None:
    edit_tensors(
        folder / "model.safetensors", lambda found: {f"module.{k}": v for k, v in found.items()}
    )


def missing_weights(part: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        edit_tensors(
            folder / "model.safetensors",
            lambda found: {k: v for k, v in found.items() if part not in k},
        )

    return spoil


missing_head = missing_weights("action_out_proj")


def pointer_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text(POINTER)


def pointer_statistics(folder: Path) -> None:
    statistics(folder)[0].write_text(POINTER)


def pointer_processor(folder: Path) -> None:
    (folder / "policy_preprocessor.json").write_text(POINTER)


def half_of_the_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def tokenizer_elsewhere(folder: Path) -> None:
    file = folder / "policy_preprocessor.json"
    content = json.loads(file.read_text())
    for step in content["steps"]:
        if step["registry_name"] == "tokenizer_processor":
            step["config"]["tokenizer_name"] = "/gone/from/another/machine"
    file.write_text(json.dumps(content))


def two_shards(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    places = {key: f"model-{1 + place % 2}.safetensors" for place, key in enumerate(weights)}
    for name in set(places.values()):
        save_file({key: weights[key] for key in weights if places[key] == name}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    file.unlink()


def one_shard_of_two(folder: Path) -> None:
    two_shards(folder)
    (folder / "model-2.safetensors").unlink()


def adapter(folder: Path, base: str | None = "owner/base") -> None:
    edit_json(folder / "config.json", use_peft=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")


def adapter_beside_its_base(folder: Path) -> None:
    base = Path(shutil.copytree(folder, folder.with_name("base"), dirs_exist_ok=True))
    adapter(folder, str(base))


def adapter_of_no_base(folder: Path) -> None:
    adapter(folder, None)


def adapter_alone(folder: Path) -> None:
    """As peft saves it, without LeRobot's files."""
    adapter(folder)
    (folder / "config.json").unlink()


REFUSED: dict[Callable[[Path], None], str] = {
    foreign_statistics_keys: r"normalizer_processor\.safetensors: 'observation.state' has no"
    r" statistics.* \(mean, std\); there are: .*so100\.buffer\.action",
    without_action_statistics: r"'action' has no statistics",
    without_a_state_file: r"policy_postprocessor\.json: 'action' has no statistics",
    nan_statistics: r"statistics of 'action' are not finite \('std'\)",
    statistics_of_integers: r"statistics of 'action' have no spread",
    six_wide_statistics: r"statistics of '.*' have 6 numbers \('mean'\), not [78]",
    ddp_prefix: r"lacks model\..* and \d+ more and has.* module\.model\..* and \d+ more\. Its names"
    r" begin with 'module\.'",
    missing_head: r"model\.safetensors lacks model\.action_out_proj\.\w+ and 1 more",
    pointer_weights: r"model\.safetensors is a Git LFS pointer",
    pointer_statistics: r"processor\.safetensors is a Git LFS pointer",
    pointer_processor: r"policy_preprocessor\.json is a Git LFS pointer",
    half_of_the_weights: r"model\.safetensors cannot be read",
    tokenizer_elsewhere: r"/gone/from/another/machine",
    one_shard_of_two: r"model-2\.safetensors does not exist",
    adapter: r"adapter_config\.json: the checkpoint is an adapter for owner/base.*peft is not",
    adapter_beside_its_base: r"adapter_config\.json: the checkpoint is an adapter for /.*/base, which"
    r" peft applies, and peft is not",
    adapter_of_no_base: r"adapter_config\.json: 'base_model_name_or_path' is missing",
    adapter_alone: r"has no config\.json.* it is an adapter: give its base owner/base with",
}  # fmt: skip
"""What every way to a checkpoint must refuse, and in which words."""
