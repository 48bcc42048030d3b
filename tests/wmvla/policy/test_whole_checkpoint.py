"""What is not whole is refused before it plays or trains, on every way to a checkpoint."""

import json
import re
import shutil

import pytest
import torch
from lerobot.configs import NormalizationMode
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.policies.pi0 import modeling_pi0
from lerobot.policies.pi0.configuration_pi0 import PI0Config
from lerobot.policies.pi0.modeling_pi0 import GemmaConfig

from wmvla.commands.convert import main as convert
from wmvla.errors import UserError
from wmvla.policy.camera_names import check_cameras
from wmvla.policy.conversion import load_with_processors
from wmvla.policy.normalisation import check_statistics
from wmvla.policy.whole_checkpoint import check_files, whole_weights
from wmvla.rollout.policy import RolloutPolicy

from ..rollout.test_any_policy import FEATURES, STATISTICS, act, diffusion
from . import cases
from .mutated import ask


def processor(file: str, change) -> cases.Callable:
    """A damage to the normalising step of a processor."""

    def spoil(folder):
        content = json.loads((folder / file).read_text())
        (step,) = (step for step in content["steps"] if "normalizer" in step["registry_name"])
        change(step)
        (folder / file).write_text(json.dumps(content))

    return spoil


def weight(change) -> cases.Callable:
    """A damage to one weight."""
    key = "model.action_out_proj.weight"
    return lambda folder: cases.edit_tensors(
        folder / "model.safetensors", lambda found: {**found, key: change(found[key])}
    )


def one_statistic(folder) -> None:
    cases.edit_tensors(
        cases.statistics(folder)[0],
        lambda found: {**found, "action.mean": found["action.mean"] * 2},
    )


PRE, POST = "policy_preprocessor.json", "policy_postprocessor.json"
SILENT = {
    "no way to normalise": (
        processor(PRE, lambda step: step["config"].update(norm_map={})),
        r"policy_preprocessor.json: 'norm_map' has IDENTITY for action, and config.json"
        r" has MEAN_STD",
    ),
    "nor to turn it back": (
        processor(POST, lambda step: step["config"].update(norm_map=None)),
        r"policy_postprocessor.json: 'norm_map' has IDENTITY for action",
    ),
    "a state that is an image": (
        processor(
            PRE, lambda step: step["config"]["features"]["observation.state"].update(type="VISUAL")
        ),
        r"'observation.state' is VISUAL there, and STATE in config.json",
    ),
    "a step is missing": (
        processor(PRE, lambda step: step.update(registry_name="device_processor")),
        r"the step normalizer_processor is missing",
    ),
    "large epsilon": (
        processor(PRE, lambda step: step["config"].update(eps=1e30)),
        r"'eps' is 1e\+30",
    ),
    "no settings": (
        processor(PRE, lambda step: step.update(config=True)),
        r"'config' of normalizer",
    ),
    "two statistics": (one_statistic, r"the statistics 'action.mean' are others than in"),
    "whole numbers": (
        weight(lambda value: value.int()),
        r"weight is of int32, in the policy of float32",
    ),
    "not finite": (
        weight(lambda value: value * torch.nan),
        r"action_out_proj.weight is not finite",
    ),
    "no steps": (
        lambda folder: cases.edit_json(folder / "config.json", num_steps=-1),
        r"'num_steps' is -1",
    ),
    "too many steps": (
        lambda folder: cases.edit_json(folder / "config.json", num_steps=10**9),
        r"'num_steps' is 1000000000, not a number from 1 to 1000",
    ),
    "periods": (
        lambda folder: cases.edit_json(folder / "config.json", min_period=-1.0),
        r"'min_period' is -1",
    ),
    "true": (
        lambda folder: cases.edit_json(folder / "config.json", max_state_dim=True),
        r"'max_state_dim' is True",
    ),
}
"""Damage that changed actions, or never ended, without a word."""


@pytest.mark.parametrize("case", SILENT)
def test_what_would_play_otherwise_is_refused(case, base, tmp_path):
    spoil, said = SILENT[case]
    with pytest.raises(UserError, match=said):
        load_with_processors(cases.copy(base, tmp_path / "copy", spoil), "cpu")


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("tokenizer.json", lambda found: found["model"]["vocab"].update(a=10**9), r"the token 'a' has the number 1000000000"),
        ("tokenizer.json", lambda found: found["model"]["vocab"].update(a=0), r"'a' both have the number 0"),
        ("config.json", lambda found: found.pop("text_config"), r"config.json: 'text_config' is missing"),
    ],
)  # fmt: skip
def test_a_model_that_is_another_than_its_weights_is_refused(
    file, change, said, base, toy, tmp_path
):
    def elsewhere(folder):
        cases.edit_json(folder / "config.json", vlm_model_name=str(tmp_path / "vlm"))

    shutil.copytree(toy.vlm, tmp_path / "vlm")
    content = json.loads((toy.vlm / file).read_text())
    change(content)
    (tmp_path / "vlm" / file).write_text(json.dumps(content))
    with pytest.raises(UserError, match=said):
        load_with_processors(cases.copy(base, tmp_path / "copy", elsewhere), "cpu")


def test_a_suite_does_not_play_without_a_camera_that_has_another_name(base, tmp_path):
    def misspelt(folder):
        read = {key.replace("image2", "imaeg2"): one for key, one in cases.inputs(folder).items()}
        cases.edit_json(folder / "config.json", input_features=read)

    policy = RolloutPolicy(cases.copy(base, tmp_path / "copy", misspelt), "none", 2, "cpu")
    with pytest.raises(UserError, match=r"reads observation.images.imaeg2, which get no image"):
        ask(policy)


CAMERAS = ("observation.images.image", "observation.images.image2")


@pytest.mark.parametrize("case", cases.REFUSED, ids=lambda case: case.__name__)
def test_a_suite_refuses_what_is_not_whole(case, base, tmp_path):
    with pytest.raises(UserError, match=cases.REFUSED[case]) as caught:
        load_with_processors(cases.copy(base, tmp_path / "copy", case), "cpu")
    assert "\n" not in str(caught.value)


def tiny_pi0(monkeypatch) -> PI0Config:
    """pi0 takes its sizes from tables; here they are tiny, all but the vocabulary."""
    sizes = GemmaConfig(width=16, depth=1, mlp_dim=16, num_heads=2, num_kv_heads=1, head_dim=8)
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 14}
    stock = dict(modeling_pi0.CONFIG_MAPPING.items())
    tiny = {**stock, "paligemma": lambda: stock["paligemma"](vision_config=vision)}
    monkeypatch.setattr(modeling_pi0, "CONFIG_MAPPING", tiny)
    monkeypatch.setattr(modeling_pi0, "get_gemma_config", lambda variant: sizes)
    return PI0Config(**FEATURES)


TYPES = {
    "act": (lambda monkeypatch: act(), "action_head"),
    "diffusion": (lambda monkeypatch: diffusion(), "final_conv"),
    "pi0": (tiny_pi0, "action_out_proj"),
}
"""How each type is made tiny, and its last layer."""


@pytest.mark.parametrize("kind", TYPES)
def test_weights_of_every_type_are_whole_or_refused(kind, tmp_path, monkeypatch):
    made, head = TYPES[kind]
    config = made(monkeypatch)
    policy = get_policy_class(kind)(config)
    policy.save_pretrained(tmp_path / "good")

    def load(folder):
        with whole_weights(folder) as place:
            return get_policy_class(kind).from_pretrained(place, config=config)

    loaded = load(tmp_path / "good").state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in policy.state_dict().items())
    for name, change, message in (
        ("prefix", cases.ddp_prefix, r"lacks .* and \d+ more and has.*module\."),
        ("head", cases.missing_weights(head), rf"lacks .*{head}\S+ and \d+ more\."),
    ):
        with pytest.raises(UserError, match=message):
            load(cases.copy(tmp_path / "good", tmp_path / name, change))


@pytest.mark.parametrize("made", [act, diffusion])
def test_statistics_of_every_type_are_looked_at(made):
    """ACT's are mean and std of images too, Diffusion's min and max."""
    config = made()
    if config.type == "diffusion":
        config.normalization_mapping = DiffusionConfig().normalization_mapping
    images = {key: {"mean": torch.rand(3, 1, 1), "std": torch.ones(3, 1, 1)} for key in CAMERAS}
    good = {**STATISTICS, **images}
    config.normalization_mapping = {
        **config.normalization_mapping,
        "VISUAL": NormalizationMode.MEAN_STD,
    }

    def check(statistics):
        check_statistics(config, make_pre_post_processors(config, dataset_stats=statistics), None)

    check(good)
    still = {**STATISTICS["action"], "min": -torch.ones(7), "std": torch.ones(7)}
    still["min"][3], still["std"][3], still["max"] = 1, 0, torch.ones(7)
    check({**good, "action": still})  # one number never changes, and its range says so
    spread = "std" if config.type == "act" else "max"
    for key in ("observation.state", "action", "observation.images.image2"):
        with pytest.raises(UserError, match=f"'{key}' has no statistics"):
            check({name: value for name, value in good.items() if name != key})
    for value, message in (
        (STATISTICS["action"][spread][:6], r"have 6 numbers .*, not 7"),
        (STATISTICS["action"][spread] * torch.inf, "are not finite"),
        (torch.full((7,), 0.0 if spread == "std" else -1.0), "have no spread"),
    ):
        with pytest.raises(UserError, match=f"'action' {message}"):
            check({**good, "action": {**STATISTICS["action"], spread: value}})


@pytest.mark.parametrize("made", [act, diffusion, PI0Config])
def test_cameras_are_given_by_name_or_refused(made):
    """pi0 has a mask for an image that is not there; the others need each of theirs."""
    config = made() if made is not PI0Config else PI0Config(**FEATURES)
    config.pretrained_path = "checkpoint"
    front, wrist = CAMERAS
    assert check_cameras(config, {front: front, wrist: wrist}) == []
    assert check_cameras(config, {"data.front": front, wrist: wrist, "third": "third"}) == []
    with pytest.raises(UserError, match=rf"{front} and {wrist} would both be {front}"):
        check_cameras(config, {front: front, wrist: front})
    with pytest.raises(UserError, match=rf'give --rename_map=.*"hand": "{wrist}"'):
        check_cameras(config, {front: front, "hand": "hand"})
    if made is PI0Config:
        assert check_cameras(config, {front: front}) == [wrist]
        return
    with pytest.raises(UserError, match=f"reads {wrist}, and there are only {front}: a"):
        check_cameras(config, {front: front})


@pytest.mark.parametrize(
    "case", [cases.adapter, cases.adapter_beside_its_base, cases.adapter_of_no_base]
)
def test_an_adapter_of_act_is_refused_too(case, tmp_path):
    folder = tmp_path / "act"
    get_policy_class("act")(act()).save_pretrained(folder)
    case(folder)
    with pytest.raises(UserError, match=cases.REFUSED[case]):
        check_files(folder)


BY_CONVERT = (
    cases.foreign_statistics_keys,
    cases.missing_head,
    cases.pointer_weights,
    cases.pointer_statistics,
    cases.pointer_processor,
    cases.tokenizer_elsewhere,
    cases.six_wide_statistics,
    cases.adapter,
    cases.adapter_beside_its_base,
    cases.adapter_of_no_base,
    cases.adapter_alone,
)


@pytest.mark.parametrize("case", BY_CONVERT, ids=lambda case: case.__name__)
def test_convert_refuses_what_is_not_whole(case, base, toy, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["pytest"])
    folder = cases.copy(base, tmp_path / "copy", case)
    flags = [f"--policy.{name}={value}" for name, value in toy.world.items()]
    assert convert([str(folder), str(tmp_path / "world"), *flags, "--policy.device=cpu"]) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    assert re.search(cases.REFUSED[case], line), line
    assert not (tmp_path / "world").exists()
