"""A refusal of what a run has made says what to remove; what is somebody's, or is whole, stays."""

from pathlib import Path

import pytest

from bench.plan.make import resolve_plan
from bench.run.stages.context import Context
from bench.run.stages.made_here import with_remedy
from wmvla.errors import UserError


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(resolve_plan("core", "smoke", "cpu"), tmp_path / "results" / "run", None)


def said(context: Context, text: str) -> str:
    with pytest.raises(UserError) as caught, with_remedy(context):
        raise UserError(text)
    return str(caught.value)


def test_a_damaged_thing_of_the_cache_is_to_be_removed_with_its_record(context: Context) -> None:
    assert context.dataset_root is not None
    for thing, case in (
        (context.vlm_folder, "base"),
        (context.base_folder, "base"),
        (Path(context.encoder_name), "latents"),
        (context.dataset_root, "demonstrations"),
    ):
        record = context.run_dir / "cases" / f"{case}.json"
        record.parent.mkdir(parents=True, exist_ok=True)
        for gone in (f"{thing}", f"{thing} and {record}"):
            assert said(context, f"{thing}/a cannot be read (it is empty): fetch it again.") == (
                f"{thing}/a cannot be read (it is empty); it was made by a run: remove {gone}, and"
                " the same command makes it again"
            )
            record.write_text("{}")
        record.unlink()


def test_nothing_else_is_to_be_removed(context: Context, tmp_path: Path) -> None:
    base = context.base_folder
    for text in (
        f"{tmp_path}/elsewhere cannot be read (it is empty): fetch it again.",
        f"{base}/a cannot be read ({base}/a: Permission denied; its owner can change that).",
        f"The disk is full at {base}/a: free some space and give the same command again.",
        f"{base} is being written by another process: wait for it, or end it.",
    ):
        assert said(context, text) == text
