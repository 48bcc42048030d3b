"""Whatever a plan, a journal or a record says is text in the report, never markup."""

import dataclasses
import html.parser
import json
from pathlib import Path

import pytest
from synthetic_run import core_plan, write_run

from bench.report.write import write_report

HOSTILE = """<script>alert(1)</script><img src=x onerror=alert(2)>" onload="alert(3)' {{ 7 * 7 }} </title></style> | a ]]> &lt;"""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run in which everything that is free text is hostile."""
    plan = core_plan("mini")
    plan = dataclasses.replace(
        plan,
        question=f"question {HOSTILE}",
        summary=f"summary {HOSTILE}",
        cannot_say=(f"cannot {HOSTILE}",),
        arms={
            name: dataclasses.replace(arm, title=f"title {HOSTILE}")
            for name, arm in plan.arms.items()
        },
        claims=tuple(
            dataclasses.replace(
                claim, id=f"{claim.id} {HOSTILE}", says=f"says {HOSTILE}", asked=True
            )
            for claim in plan.claims
        ),
    )
    outcomes = {case.rollout: ["error", True, *[False] * 22] for case in plan.rollout_cases()}
    outcomes["E2-pred"] = [True, *["timeout"] * 23]
    run_dir = write_run(tmp_path / "run", plan, outcomes)
    for journal in (run_dir / "episodes").iterdir():
        rows = [json.loads(line) for line in journal.read_text().splitlines()]
        journal.write_text(
            "".join(
                json.dumps({**row, "error": row["error"] and f"error {HOSTILE} \ud800"}) + "\n"
                for row in rows
            )
        )
    record = {f"key {HOSTILE}": f"value {HOSTILE}"}
    provenance = {
        **record,
        "nested": record,
        "packages": record,
        "environment": record,
        "cpu": {"model": f"cpu {HOSTILE}"},
        "git": {"commit": f"commit {HOSTILE}", "dirty": True},
    }
    (run_dir / "provenance.json").write_text(json.dumps(provenance))
    speed = {
        "figure": f"figure {HOSTILE}",
        "unit": f"unit {HOSTILE}",
        "machine": HOSTILE,
        "value": 1.5,
        HOSTILE: 2,
    }
    (run_dir / "throughput.json").write_text(json.dumps({"benchmarks": [{"extra_info": speed}]}))
    (run_dir / "videos").mkdir()
    (run_dir / "videos" / '"onload=alert(1)<b>.mp4').write_text("")
    return run_dir


class Elements(html.parser.HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_has_no_element_of_theirs(run_dir: Path) -> None:
    found = Elements(write_report(run_dir).read_text())
    assert found.names.count("script") == 1
    assert found.names.count("title") > 1  # of figures
    assert "img" not in found.names
    assert found.handlers == []
    for what in (
        "question",
        "cannot",
        "title",
        "says",
        "error",
        "value",
        "key",
        "cpu",
        "commit",
        "figure",
        "unit",
    ):
        assert f"{what} <script>alert(1)</script>" in found.text, what
    assert "{{ 7 * 7 }}" in found.text


def test_markdown_has_no_tag_of_theirs(run_dir: Path) -> None:
    source = write_report(run_dir).with_suffix(".md").read_text()
    ours = ("<details>", "</details>", "<summary>", "</summary>")
    for tag in ours:
        source = source.replace(tag, "")
    assert "<" not in source
    assert "&lt;script>alert(1)" in source


def test_half_a_character_does_not_stop_the_report(run_dir: Path) -> None:
    content = json.loads(write_report(run_dir).with_suffix(".json").read_text())
    assert any(row["error"].endswith("\ud800") for row in content["broken"])
