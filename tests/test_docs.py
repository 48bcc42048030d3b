"""README, CONTRIBUTING and docs: no link is dead, and the commands shown name what exists. None of
them is run."""

import argparse
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli import COMMANDS, make_parser
from bench.commands.options import add_plan_options, add_run_options, plan_from
from bench.plan.suite import SUITES, known_suites

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OF_THEIR_OWN = ("extending",)
"""Pages that make what their commands name: ``tests/test_pages.py`` runs them."""
FENCE = re.compile(r"^```(\w*).*?\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PLACEHOLDER = re.compile(r"\.\.\.|\|")
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^\.PHONY: (\S+)", MAKEFILE, re.MULTILINE))
VARIABLES = set(
    re.findall(r"[A-Z_]{2,}", MAKEFILE + (ROOT / "scripts" / "container.sh").read_text())
)


def prose(text: str) -> str:
    """Without code."""
    return SPAN.sub(
        "",
        "\n".join(line for line in FENCE.sub("", text).splitlines() if not line.startswith("    ")),
    )


def anchors(text: str) -> set[str]:
    """The headings as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(document: Path, text: str) -> Iterator[str]:
    for link in LINK.findall(prose(text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (
            anchor and anchor not in anchors(text if target == document else target.read_text())
        ):
            yield link


def commands(text: str) -> Iterator[list[str]]:
    """The words of every make, wmbench and pytest command in a fence, an indented block or a code
    span."""
    fenced = [body for language, body in FENCE.findall(text) if language in ("sh", "bash", "")]
    rest = FENCE.sub("", text)
    indented = [line for line in rest.splitlines() if line.startswith("    ")]
    lines = "\n".join([*fenced, *indented]).replace("\\\n", " ").splitlines()
    for line in [*lines, *SPAN.findall(rest)]:
        if not re.match(
            r"\s*([A-Z_]+=\S* )*(make|wmbench|pytest|torchrun|(\./)?\.venv/bin/(wmbench|pytest))\b",
            line,
        ):
            continue
        words = shlex.split(line, comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            del words[0]
        if "bench.cli" in words:
            words = ["wmbench", *words[words.index("bench.cli") + 1 :]]
        if len(words) > 1 and words[0] != "torchrun":
            yield [Path(words[0]).name, *words[1:]]


def wrong(words: list[str]) -> str | None:
    """What a command names that does not exist; None where all does."""
    program, *arguments = words
    try:
        return {"make": wrong_make, "wmbench": wrong_wmbench, "pytest": wrong_pytest}[program](
            arguments
        )
    except SystemExit:
        return "an option or argument that the program refuses"
    except ValueError as error:
        return str(error)


def wrong_make(arguments: list[str]) -> str | None:
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    targets = [word for word in arguments if "=" not in word]
    unknown = [name for name in given if name not in VARIABLES] + [
        target for target in targets if target not in TARGETS
    ]
    if unknown:
        return f"{unknown[0]} is not in the Makefile"
    if not {"bench", "plan"} & set(targets) or any(
        PLACEHOLDER.search(value) for value in given.values()
    ):
        return None
    shown = subprocess.run(
        ["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    ).stdout
    (line,) = (line for line in shown.splitlines() if line.startswith(".venv/bin/wmbench"))
    return wrong_wmbench(shlex.split(line)[1:])


def wrong_wmbench(arguments: list[str]) -> str | None:
    if arguments in [[name] for name in (*COMMANDS, "doctor")]:  # a command's name in a sentence
        return None
    options = make_parser().parse_args(arguments)
    if options.command in ("plan", "run") and not PLACEHOLDER.search(" ".join(arguments)):
        options.machine = options.machine or "cpu"
        plan_from(options.suite, options)
    return None


def wrong_pytest(arguments: list[str]) -> str | None:
    parser = argparse.ArgumentParser()
    parser.add_argument("places", nargs="*")
    for flag in ("-k", "-m", "--benchmark-json", "--benchmark-compare-fail"):
        parser.add_argument(flag)
    for flag in ("-s", "-q", "-x", "--benchmark-autosave"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--benchmark-compare", nargs="?")
    parser.add_argument("--suite", default="core")
    add_plan_options(parser.add_argument)
    add_run_options(parser.add_argument)
    options = parser.parse_args(arguments)
    missing = [place for place in options.places if not (ROOT / place).exists()]
    if missing:
        return f"{missing[0]} does not exist"
    if options.suite in known_suites():
        options.machine = options.machine or "cpu"
        plan_from(options.suite, options)
    elif options.suite != "all" and not any((SUITES / options.suite).glob("test_*.py")):
        return f"{options.suite} is no suite"
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_link_is_dead(document: Path) -> None:
    assert list(dead_links(document, document.read_text())) == []


@pytest.mark.parametrize(
    "document",
    [path for path in DOCUMENTS if path.stem not in OF_THEIR_OWN],
    ids=lambda path: path.name,
)
def test_every_command_names_what_exists(document: Path) -> None:
    for words in commands(document.read_text()):
        assert wrong(words) is None, shlex.join(words)


def test_what_is_looked_for_is_found() -> None:
    """The tests above would pass on documents that they cannot read."""
    text = "\n".join(document.read_text() for document in DOCUMENTS)
    found = [words[0] for words in commands(text)]
    assert [found.count(program) > 5 for program in ("make", "wmbench", "pytest")] == [
        True,
        True,
        True,
    ]
    assert len(LINK.findall(prose(text))) > 15
    assert {"bench", "plan", "report", "test", "image"} <= TARGETS


@pytest.mark.parametrize(
    "line",
    [
        "make bnech",
        "make bench SUITE=croe",
        "make bench SUITE=core SCALE=huge",
        "make bench SIUTE=core",
        "make plan EPISODES=none",
        "wmbench run core --sclae smoke",
        "wmbench reprot DIR",
        "wmbench videos results/a --films",
        "pytest suites/ --suite fusoin",
        "pytest suites/ --suite throughput --shrad 1/2",
        "pytest tests/nowhere.py",
        "torchrun --nproc_per_node 2 -m bench.cli run croe",
    ],
)
@pytest.mark.parametrize(
    "shape", ["    {}\n", "Say `{}` then.\n", "```sh\n{}\n```\n", "    {}   # a remark\n"]
)
def test_a_wrong_command_is_seen(line: str, shape: str) -> None:
    (words,) = commands(shape.format(line))
    assert wrong(words) is not None


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        (
            "[a](docs/world.md) [b](https://example.invalid) [c](docs/run-directory.md#splitting)",
            [],
        ),
        ("[a](docs/wrold.md)", ["docs/wrold.md"]),
        ("[a](docs/run-directory.md#spliting)", ["docs/run-directory.md#spliting"]),
        ("![a](docs/none.png) `[b](c.md)`", ["docs/none.png"]),
        ("# One, two\n[a](#one-two) [b](#three)", ["#three"]),
    ],
)
def test_a_dead_link_is_seen(text: str, dead: list[str]) -> None:
    assert list(dead_links(ROOT / "README.md", text)) == dead
