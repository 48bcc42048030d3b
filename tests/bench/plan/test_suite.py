"""Suite files: the one that ships loads, and each wrong one is refused by a sentence that names the
key."""

import dataclasses
import re
from pathlib import Path

import pytest

from bench.plan.suite import SUITES, known_suites, load_suite, load_suite_file, rollout_names
from wmvla.errors import UserError

BAD = sorted((Path(__file__).parents[2] / "resources" / "bad" / "suites").glob("*/suite.toml"))


def test_every_shipped_suite_loads() -> None:
    names = known_suites()
    assert "core" in names
    for name in names:
        assert load_suite(name).name == name


def test_core_is_the_protocol() -> None:
    core = load_suite("core")
    assert rollout_names(core.arms) == ["E0-none", "E1-zero", "E2-pred", "E2-zero", "E2-random"]
    assert {claim.id: claim.kind for claim in core.claims} == {
        "E1 = E0": "equivalence",
        "E2 > E0": "superiority",
        "pred > zero": "superiority",
        "random < pred": "superiority",
    }
    assert not core.scales["smoke"].concludes
    full = core.scales["full"].recipe
    assert full.training.steps * full.training.batch_size == 3_200_000
    assert full.rollout.episodes == 200
    assert full.rollout.n_action_steps == 10


def test_fusion_changes_one_path_at_a_time() -> None:
    fusion = load_suite("fusion")
    assert list(fusion.arms) == ["E0", "E2", "F2", "F3a-prefix", "F3a-state", "F3b", "bank-4"]
    assert fusion.arms["E2"] == dataclasses.replace(
        load_suite("core").arms["E2"], title=fusion.arms["E2"].title, rollouts=("pred", "zero")
    )
    for name in ("F2", "F3a-prefix", "F3a-state", "F3b"):
        given = fusion.arms[name].fields.given()
        assert given.pop("enable_world_injection") is False
        paths = {"world_inject_suffix_in", "world_prefix_tokens", "world_prefix_cross_attn"} & set(
            given
        )
        assert len(paths) == 1
    assert fusion.arms["bank-4"].fields.given()["world_num_hypotheses"] == 4
    asked = {(claim.left, claim.right) for claim in fusion.claims}
    assert asked == {
        (f"{arm}-pred", other)
        for arm in list(fusion.arms)[1:]
        for other in ("E0-none", f"{arm}-zero")
    }


def test_memory_asks_what_a_sceptic_asks() -> None:
    memory = load_suite("memory")
    assert {name: arm.memory for name, arm in memory.arms.items()} == {
        "E0": "none",
        "E2": "pred",
        "oracle": "oracle",
        "shuffle": "shuffle",
        "random": "random",
        "H": "history",
        "E2-detached": "pred",
    }
    assert memory.arms["E2"].rollouts == ("pred", "zero", "random", "hold")
    assert memory.arms["H"].rollouts == ("history",)
    assert memory.arms["E2-detached"].fields.given() == {"world_detach_memory": True}


@pytest.mark.parametrize("name", ["fusion", "memory"])
def test_scales_of_the_ablations_are_cores(name: str) -> None:
    assert load_suite(name).scales == load_suite("core").scales


def test_a_scale_like_another_changes_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    text = (SUITES / "core" / "suite.toml").read_text()
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "suite.toml").write_text(text)
    head = text[: text.index("# ---- smoke")].replace('name = "core"', 'name = "other"')
    (tmp_path / "other").mkdir()
    changed = (
        '[scales.smoke]\nlike = "core"\nsummary = "mine"\n[scales.smoke.training]\nsteps = 7\n'
    )
    (tmp_path / "other" / "suite.toml").write_text(head + changed)
    other, core = load_suite("other", tmp_path).scales, load_suite("core", tmp_path).scales
    assert list(other) == ["smoke"]
    training = dataclasses.replace(core["smoke"].training, steps=7)
    assert other["smoke"] == dataclasses.replace(core["smoke"], summary="mine", training=training)


def test_there_are_bad_suites() -> None:
    assert len(BAD) >= 15


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.parent.name)
def test_bad_suite_is_refused_in_one_line(path: Path) -> None:
    expected = path.read_text().splitlines()[0].removeprefix("# refused: ")
    with pytest.raises(UserError) as refused:
        load_suite_file(path)
    message = str(refused.value)
    assert expected in message
    assert str(path) in message
    assert "\n" not in message


def test_a_suite_of_plain_benchmarks_says_how_to_run_it() -> None:
    with pytest.raises(
        UserError,
        match=(
            "'throughput' has benchmarks and no plan; run it with: pytest suites/ --suite"
            " throughput"
        ),
    ):
        load_suite("throughput")


def test_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown suite 'coer'; did you mean 'core'"):
        load_suite("coer")


@pytest.mark.parametrize(
    ("text", "why"), [("[" * 5000, "nested too deeply"), ("1" * 5000, "Exceeds the limit")]
)
def test_a_file_that_python_cannot_read_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(f"seeds = {text}")
    with pytest.raises(UserError, match=f"not valid TOML: {why}"):
        load_suite_file(path)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1" + "0" * 400])
def test_a_number_that_cannot_be_computed_with_is_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "suite.toml"
    text = (SUITES / "core" / "suite.toml").read_text()
    changed = re.sub(r"^alpha = .*$", f"alpha = {number}", text, flags=re.MULTILINE)
    assert changed != text
    path.write_text(changed)
    with pytest.raises(UserError, match="'alpha' must be a number that can be computed with"):
        load_suite_file(path)
