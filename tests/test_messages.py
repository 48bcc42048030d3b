"""Every message of every command, in one file that a person can read in one go.

    pytest tests/test_messages.py          # prints where the file is
    MESSAGES=messages.txt pytest tests/test_messages.py

The file has the help of every command, the text of every error that a user can meet, every line
that a command prints, the wording of plans and verdicts, and the text of the report's pages. They
are read from the sources, so a new message is in it without being added anywhere: every string of
two words and more counts, but for docstrings and programs.
"""

import ast
import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import cli

ROOT = Path(__file__).resolve().parents[1]
STUMBLED_OVER = re.compile(
    r"\b(tell|tells|told|reckon\w*|mend|mends|mended|thereof|whereof|whilst|anew|hence"
    r"|blesses|beholds|shall|ought)\b",
    re.IGNORECASE,
)
"""Words that readers who learned English as a second language had to look up, or misread."""
PROGRAM = re.compile(r"^\s*((import|export|for name in)\b|<mujoco>)", re.MULTILINE)
"""How strings begin that a program reads."""


def texts_of(node: ast.AST) -> Iterator[str]:
    """The strings below a node; what is put into one stands as {}."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(
            part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "{}"
            for part in node.values
        )
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from texts_of(part.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts_of(child)


def not_read(tree: ast.AST) -> set[ast.AST]:
    """Docstrings, which only a programmer reads, and the pieces of strings that are read whole."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found.add(node.value)
        if isinstance(node, ast.JoinedStr):
            found.update(node.values)
    return found


def place(node: ast.AST) -> tuple[int, int]:
    """Line and column."""
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def is_sentence(text: str) -> bool:
    """Whether a string is more than a key, a path or a flag, and no program or scene file."""
    words = re.findall(r"[A-Za-z]{2,}", text)
    return len(words) > 1 and " " in text.strip() and not PROGRAM.search(text)


def messages_of(path: Path) -> list[str]:
    """The sentences in a Python file that reach a user, in its order."""
    tree = ast.parse(path.read_text())
    apart = not_read(tree)
    found: dict[str, None] = {}
    for node in sorted(ast.walk(tree), key=place):
        if isinstance(node, ast.Constant | ast.JoinedStr) and node not in apart:
            found.update(dict.fromkeys(filter(is_sentence, texts_of(node))))
    return [" ".join(text.split()) for text in found]


def help_of(*command: str) -> str:
    """What `wmbench COMMAND --help` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        cli.main([*command, "--help"])
    return printed.getvalue()


def page_texts(template: Path) -> list[str]:
    """The text between the tags of a report's page."""
    text = re.sub(r"\{#.*?#\}|<(style|script|svg)\b.*?</\1>", " ", template.read_text(), flags=re.S)
    text = re.sub(r"\{%.*?%\}|<[^>]*>", "\n", text, flags=re.S)
    lines = (" ".join(line.split()) for line in re.sub(r"\{\{.*?\}\}", "{}", text).splitlines())
    return [line for line in lines if is_sentence(line)]


def all_messages() -> dict[str, list[str]]:
    """By source what a user can read of it."""
    found = {"wmbench --help": help_of().splitlines()}
    for name in cli.COMMANDS:
        found[f"wmbench {name} --help"] = help_of(name).splitlines()
    for path in sorted([*ROOT.glob("bench/**/*.py"), *ROOT.glob("wmvla/**/*.py")]):
        found[path.relative_to(ROOT).as_posix()] = messages_of(path)
    for path in sorted(ROOT.glob("bench/**/*.j2")):
        found[path.relative_to(ROOT).as_posix()] = page_texts(path)
    for path in [
        ROOT / "scripts" / "setup.sh",
        ROOT / "scripts" / "container.sh",
        ROOT / "Makefile",
    ]:
        said = re.findall(r"\b(?:say|fail|echo) +(['\"])(.*?)\1", path.read_text())
        found[path.relative_to(ROOT).as_posix()] = [text for _, text in said]
    return {source: messages for source, messages in found.items() if messages}


@pytest.fixture(scope="module")
def messages() -> dict[str, list[str]]:
    return all_messages()


def test_all_messages_are_in_one_file(messages: dict[str, list[str]], tmp_path: Path) -> None:
    file = Path(os.environ.get("MESSAGES", tmp_path / "messages.txt"))
    parts = [f"== {source}\n" + "\n".join(texts) for source, texts in messages.items()]
    file.write_text("\n\n".join(parts) + "\n")
    print(f"all messages: {file}")
    assert "error: " not in messages  # the sources are keys
    assert len(messages) > 100
    text = file.read_text()
    for known in ("not a run directory", "suite.toml is missing", "suite, default: core"):
        assert known in text


def test_messages_use_common_words(messages: dict[str, list[str]]) -> None:
    stumbled = [
        f"{source}: {text}"
        for source, texts in messages.items()
        for text in texts
        if STUMBLED_OVER.search(text)
    ]
    assert not stumbled, "\n" + "\n".join(stumbled)


def test_a_message_is_found_in_every_kind_of_source(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        'def f(x):\n    """Not a message at all."""\n    if x:\n'
        '        raise UserError(f"{x}: cannot be read")\n    print("all is well", x)\n'
        '    add("--flag", help="what the flag does")\n    return {"not-a-message": x}\n'
    )
    assert messages_of(file) == ["{}: cannot be read", "all is well", "what the flag does"]
