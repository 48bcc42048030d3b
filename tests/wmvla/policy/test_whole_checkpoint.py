"""What is not whole is refused before it plays or trains, on every way to a checkpoint."""

import re

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

from ..rollout.test_any_policy import FEATURES, STATISTICS, act, diffusion
from . import cases

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
