"""Suite files: the one that ships loads, and each wrong one is refused by a sentence that names the key."""

from pathlib import Path

import pytest

from bench.suite import known_suites, load_suite, load_suite_file, rollout_names
from wmvla.errors import UserError

BAD = sorted((Path(__file__).parents[1] / "resources" / "bad" / "suites").glob("*/suite.toml"))


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


def test_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown suite 'coer'; did you mean 'core'"):
        load_suite("coer")
