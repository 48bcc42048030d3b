"""docs/pins.md: every name of another library that the code uses although nobody promises it. Each
is held to what the code expects, and a change ends in a sentence that says what to read again."""

import ast
import functools
import importlib
import inspect
import os
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.pins import FLOW, FUSION, PINS, POLICY, VLM, ZERO, Pin

os.environ.setdefault("DS_ACCELERATOR", "cpu")

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "pins.md").read_text()
PRODUCT = ("bench", "suites", "wmvla")


@pytest.fixture(scope="module", autouse=True)
def libero_can_be_imported() -> None:
    from wmvla.sim.libero.assets import prepare_libero

    prepare_libero()


def found(place: str) -> Any:
    module, _, name = place.partition(":")
    value: Any = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    return value


@functools.cache
def module_source(name: str) -> str:
    return inspect.getsource(importlib.import_module(name))


def broken(pin: Pin) -> str | None:
    """A sentence on what is not as the code expects; None where all is."""
    here = f"{pin.library} {version(pin.library)}"
    advice = f"read {pin.used_by} again, then change this pin and docs/pins.md"
    try:
        value = found(pin.place)
    except (ImportError, AttributeError):
        return f"{here} has no {pin.place} any more: {advice}."
    if pin.attribute:
        source = "".join(module_source(kind.__module__) for kind in value.__mro__[:-1])
        if not re.search(rf"self\.{pin.attribute}\b[^=\n]*=|\b{pin.attribute}\b *:", source):
            return f"{here}: a {value.__name__} has no {pin.attribute} any more: {advice}."
    if pin.parameters is not None:
        taken = [
            name
            for name, parameter in inspect.signature(value).parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        if "self" not in taken and pin.parameters.startswith("self "):
            taken = ["self", *taken]
        if taken != pin.parameters.split():
            return (
                f"{here}: {pin.name} takes ({', '.join(taken)}), the code expects"
                f" ({', '.join(pin.parameters.split())}): {advice}."
            )
    return None


@pytest.mark.parametrize("pin", PINS, ids=lambda pin: f"{pin.library}-{pin.name}")
def test_a_pinned_name_is_as_the_code_expects(pin: Pin) -> None:
    assert (sentence := broken(pin)) is None, sentence


@pytest.mark.parametrize("pin", PINS, ids=lambda pin: f"{pin.library}-{pin.name}")
def test_a_pinned_name_is_used_and_on_the_page(pin: Pin) -> None:
    used = (ROOT / pin.used_by).read_text()
    owner = pin.place.rpartition(":")[2].split(".")[0]
    assert re.search(rf"\b{pin.name}\b", used) or (pin.name == "forward" and owner in used), (
        f"{pin.used_by} does not use {pin.name} any more: remove its pin."
    )
    assert f"`{pin.name}`" in PAGE, f"docs/pins.md does not name {pin.name}."


@pytest.mark.parametrize(
    ("pin", "sentence"),
    [
        (Pin("torch", "torch:_foreach_no", "a.py"), "has no torch:_foreach_no any more"),
        (
            Pin("lerobot", FLOW, "a.py", attribute="action_out_pro"),
            "has no action_out_pro any more",
        ),
        (
            Pin("lerobot", f"{POLICY}.prepare_images", "a.py", "self batch masks"),
            r"prepare_images takes \(self, batch\), the code expects \(self, batch, masks\)",
        ),
    ],
)
def test_a_change_is_a_sentence_that_names_library_file_and_page(pin: Pin, sentence: str) -> None:
    said = broken(pin)
    assert said is not None
    assert re.search(sentence, said)
    assert version(pin.library) in said
    assert "read a.py again" in said


def product_files() -> Iterator[Path]:
    for package in PRODUCT:
        yield from sorted((ROOT / package).rglob("*.py"))


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def foreign_private_names(trees: dict[Path, ast.Module]) -> dict[str, Path]:
    """Private names that are used and that no file of ours makes, with one file that uses each."""
    ours: set[str] = set()
    used: dict[str, Path] = {}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    ours.add(name)
                case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                    ours.add(name)
                case ast.AnnAssign(target=ast.Name(id=name)):
                    ours.add(name)
                case ast.Attribute(attr=name) if private(name):
                    used.setdefault(name, path)
                case ast.Call(
                    func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_]
                ) if private(name):
                    used.setdefault(name, path)
                case ast.ImportFrom(module=str(module), names=names, level=0):
                    if module.split(".")[0] not in PRODUCT:
                        parts = [*module.split("."), *(alias.name for alias in names)]
                        used |= {name: path for name in parts if private(name)}
                case _:
                    pass
    return {name: path for name, path in used.items() if name not in ours or name == "_exit"}


def test_every_private_name_of_another_library_is_a_pin() -> None:
    trees = {path: ast.parse(path.read_text()) for path in product_files()}
    names = {pin.name for pin in PINS} | {"_exit"}  # os._exit is documented
    unpinned = {
        name: str(path.relative_to(ROOT))
        for name, path in foreign_private_names(trees).items()
        if name not in names
    }
    assert unpinned == {}, f"Not in docs/pins.md and without a test: {unpinned}"


def test_a_private_name_is_seen() -> None:
    source = (
        "from lerobot._hidden import a\nimport b\nb._c()\ngetattr(b, '_d', 0)\n"
        "class E:\n    def _f(self):\n        self._g = self._h()\n        self._f()\n"
    )
    seen = foreign_private_names({Path("x.py"): ast.parse(source)})
    assert set(seen) == {"_hidden", "_c", "_d", "_h"}


# What a signature does not show.


def test_smolvla_calls_each_hooked_projection_once_per_pass() -> None:
    """F1 and F2 are hooks: a second call would inject twice, none would inject nothing."""
    flow = found(FLOW)
    for method in (flow.forward, flow.denoise_step):
        source = inspect.getsource(method)
        assert source.count("self.action_out_proj(") == 1, (
            f"VLAFlowMatching.{method.__name__} does not call action_out_proj once: {FUSION}"
        )
        assert source.count("self.embed_suffix(") == 1
    assert inspect.getsource(flow.embed_suffix).count("self.action_time_mlp_out(") == 1


def test_a_made_smolvla_can_be_given_our_subclass() -> None:
    """The class swap of ``fuse``: Python refuses it where the memory layouts differ."""
    import torch

    from wmvla.policy.fusion import WorldFlowMatching, WorldTokenVLM

    for stock, ours in ((found(FLOW), WorldFlowMatching), (found(VLM), WorldTokenVLM)):
        made = stock.__new__(stock)
        torch.nn.Module.__init__(made)
        made.__class__ = ours
        assert isinstance(made, ours)


@pytest.mark.parametrize("integrator", ["Euler", "implicit", "implicitfast"])
def test_mujocos_step_is_the_parts_that_we_call(integrator: str) -> None:
    """``PhysicsOnce`` plays ``mj_step`` in its parts, and ``mj_forwardSkip`` in place of a second
    ``mj_forward``."""
    import mujoco
    import numpy as np

    model = mujoco.MjModel.from_xml_string(
        f"""<mujoco><option integrator="{integrator}"/><worldbody><geom type="plane" size="1 1 1"/>
        <body pos="0 0 .3"><freejoint/><geom type="box" size=".1 .05 .02"/>
        <body pos=".1 0 0"><joint name="j" axis="0 1 0" damping=".1"/><geom size=".03"/></body>
        </body></worldbody><actuator><motor joint="j"/></actuator></mujoco>"""
    )
    whole, parts = mujoco.MjData(model), mujoco.MjData(model)
    integrate = mujoco.mj_Euler if integrator == "Euler" else mujoco.mj_implicit
    for number in range(150):
        whole.ctrl[0] = parts.ctrl[0] = np.sin(number / 9)
        mujoco.mj_forward(model, whole)
        mujoco.mj_step(model, whole)
        mujoco.mj_forward(model, parts)
        mujoco.mj_checkPos(model, parts)
        mujoco.mj_checkVel(model, parts)
        mujoco.mj_forwardSkip(model, parts, mujoco.mjtStage.mjSTAGE_VEL, 0)
        mujoco.mj_checkAcc(model, parts)
        integrate(model, parts)
    assert whole.ncon > 0
    assert np.array_equal(whole.qpos, parts.qpos), "mj_step is more than these parts now"
    assert np.array_equal(whole.qvel, parts.qvel)


def test_mujoco_lets_us_say_where_a_meshs_lists_go() -> None:
    """``Drawing`` moves ``baseMesh``, so that ``mjr_uploadMesh`` writes lists of our own."""
    import mujoco

    assert mujoco.MjrContext.baseMesh.fset is not None
    assert all(hasattr(mujoco.MjrContext, name) for name in ("offSamples", "offWidth", "offHeight"))
    assert "meshid: int" in mujoco.mjr_uploadMesh.__doc__


def test_deepspeeds_backward_can_leave_the_loss_unscaled() -> None:
    import deepspeed

    assert "scale_wrt_gas" in inspect.getsource(deepspeed.DeepSpeedEngine), (
        f"DeepSpeed would divide the loss by the number of parts: read {ZERO} again."
    )


def test_deepspeed_calls_a_shared_weights_parts_as_we_do() -> None:
    from deepspeed.runtime.zero import partition_parameters

    source = inspect.getsource(partition_parameters)
    assert "param.ds_id = " in source
    assert "param.ds_tensor = " in source


def test_vjepa_skips_its_predictor_when_features_are_asked_for() -> None:
    source = inspect.getsource(found("transformers:VJEPA2Model.get_vision_features"))
    assert "skip_predictor=True" in source, "the predictor half would run for nothing"


def test_torchs_private_sums_are_the_public_ones() -> None:
    import torch

    parts = [torch.arange(6.0).reshape(2, 3), torch.ones(4)]
    norms = torch._foreach_norm(parts)
    assert all(torch.equal(norm, part.norm()) for norm, part in zip(norms, parts, strict=True))
    torch._foreach_mul_(parts, torch.tensor(2.0))
    assert torch.equal(parts[1], torch.full((4,), 2.0))


def test_torchs_ranks_may_meet_at_a_store_that_another_process_serves() -> None:
    """Or rank 0 would serve one itself, at a port that is taken."""
    import torch.distributed as dist

    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "RANK": "0"}
    variables |= {"WORLD_SIZE": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        dist.init_process_group("gloo")
    assert dist.get_world_size() == 1
    dist.destroy_process_group()


def test_lerobot_finds_a_plugin_by_the_name_of_its_distribution() -> None:
    from lerobot.utils.import_utils import register_third_party_plugins

    assert "lerobot_policy_" in inspect.getsource(register_third_party_plugins)
    assert version("lerobot_policy_smolvla_world")


def test_lerobots_modules_that_check_a_users_flags_are_where_we_look() -> None:
    from wmvla.commands.lerobot_main import CHECKS

    missing = [name for name in CHECKS if importlib.util.find_spec(name.rstrip(".")) is None]
    assert missing == [], (
        f"wmvla/commands/lerobot_main.py looks at modules that are gone: {missing}"
    )


def test_robosuites_logger_has_the_name_that_we_quieten() -> None:
    import robosuite.utils.log_utils

    assert robosuite.utils.log_utils.ROBOSUITE_DEFAULT_LOGGER.name == "robosuite_logs"


def test_robosuite_opens_a_log_only_where_its_macros_name_a_level() -> None:
    import robosuite.utils.log_utils

    source = inspect.getsource(robosuite.utils.log_utils)
    assert "file_logging_level=macros.FILE_LOGGING_LEVEL" in source
    assert "if file_logging_level is not None" in source
