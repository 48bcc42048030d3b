"""What is not whole is refused before it plays or trains, on every way to a checkpoint."""

import re

import pytest

from wmvla.commands.convert import main as convert
from wmvla.errors import UserError
from wmvla.policy.conversion import load_with_processors

from . import cases


@pytest.mark.parametrize("case", cases.REFUSED, ids=lambda case: case.__name__)
def test_a_suite_refuses_what_is_not_whole(case, base, tmp_path):
    with pytest.raises(UserError, match=cases.REFUSED[case]) as caught:
        load_with_processors(cases.copy(base, tmp_path / "copy", case), "cpu")
    assert "\n" not in str(caught.value)


BY_CONVERT = (
    cases.foreign_statistics_keys,
    cases.missing_head,
    cases.pointer_weights,
    cases.pointer_statistics,
    cases.pointer_processor,
    cases.tokenizer_elsewhere,
    cases.six_wide_statistics,
    cases.adapter,
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
