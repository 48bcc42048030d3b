"""Takes out of text what nobody wants to send: secrets, names of user and host, the home folder.
Results are sent to others, so everything in a run directory that is text passes through here."""

import getpass
import json
import os
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wmvla.files import write_file, write_json

SECRET_WORDS = (
    "token|secret|password|passwd|passphrase|credentials?"
    "|api[-_]?key|access[-_]?key|private[-_]?key"
)
SECRET_VARIABLE = re.compile(rf"(^|_)({SECRET_WORDS}|key|auth)(_|$)", re.IGNORECASE)
"""Environment variables whose value is a secret. TOKENIZERS_PARALLELISM is none."""
SHORTEST_SECRET = 6
"""Characters of a variable's value; shorter ones, such as ``false``, would be found everywhere."""
_NAMED = rf"(?<![A-Za-z])(?:{SECRET_WORDS})(?![A-Za-z])[\w.-]*"
_DONE = "(?!<|&lt;)"
"""What was hidden before, perhaps in a page since, is not hidden again."""
_VALUE = rf"{_DONE}([^\s'\",;\[\]{{}}<]+)"
SECRET_GIVEN = (
    re.compile(rf"(--[\w.-]*{_NAMED}[=\s]\s*['\"]?){_VALUE}", re.IGNORECASE),
    re.compile(rf"({_NAMED}['\"]?\s*[=:]\s*['\"]?){_VALUE}", re.IGNORECASE),
)
"""``--hub-token x``; ``WANDB_API_KEY=x``, ``password: x``."""
SECRET_SHAPES = re.compile(
    r"\b(hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|AKIA[A-Z0-9]{12,})"
)
LOGIN_IN_ADDRESS = re.compile(rf"(?<=://){_DONE}[^\s/@]+@")
HOME_OF_ANYONE = re.compile(rf"/(home|Users)/{_DONE}[^/\s:'\"<]+")
NOBODY = ("", "root", "user", "nobody", "runner", "ubuntu", "docker")
"""Accounts that name no person."""


def anonymous(text: str) -> str:
    """`text` without secrets and the names of user and host, the home folder as ``~``. Non-obvious:
    a user or host whose name is a word of the text, say ``core``, takes that word with it. What is
    sent says too little then, and never too much."""
    for value in _secrets():
        text = text.replace(value, "<secret>")
    text = SECRET_SHAPES.sub("<secret>", text)
    text = LOGIN_IN_ADDRESS.sub("<secret>@", text)
    for given in SECRET_GIVEN:
        text = given.sub(r"\1<secret>", text)
    home = os.path.expanduser("~")  # noqa: PTH111  # unlike Path.home() it does not fail for an unnamed user
    if home not in ("/", "~"):
        text = re.sub(rf"{re.escape(home)}(?=/|$|[^\w.-])", "~", text)
    text = HOME_OF_ANYONE.sub(r"/\1/<user>", text)
    user = _user_name()
    if user not in NOBODY:
        text = re.sub(rf"(?<!\w){re.escape(user)}(?!\w)", "<user>", text)
    for host in _host_names():
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "<host>", text)
    return text


def hide_names(paths: Iterable[Path]) -> None:
    """Rewrite text files as `anonymous` has them, if there is something to hide. For files that
    nobody has open any more: a rewritten one is another file of the same name."""
    for path in paths:
        if not path.is_file():
            continue
        text = path.read_bytes().decode(errors="replace")
        if path.suffix == ".json":
            content = json.loads(text)
            if (shown := _hidden(content)) != content:  # string by string, so that it stays JSON
                write_json(path, shown)
        elif (hidden := anonymous(text)) != text:
            write_file(path, hidden.encode())


def _hidden(content: Any, key: str = "") -> Any:
    if isinstance(content, dict):
        return {anonymous(name): _hidden(value, name) for name, value in content.items()}
    if isinstance(content, list):
        return [_hidden(value, key) for value in content]
    if isinstance(content, str):
        return "<secret>" if content and SECRET_VARIABLE.search(key) else anonymous(content)
    return content


def _secrets() -> list[str]:
    """Values of this process's environment that are secrets, the longest first."""
    found = {
        value
        for name, value in os.environ.items()
        if SECRET_VARIABLE.search(name) and len(value) >= SHORTEST_SECRET
    }
    return sorted(found, key=len, reverse=True)


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return ""


def _host_names() -> list[str]:
    """The host as it names itself, and without its domain."""
    host = socket.gethostname()
    return [name for name in {host: 0, host.partition(".")[0]: 0} if name not in ("", "localhost")]
