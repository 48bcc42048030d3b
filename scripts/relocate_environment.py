"""Makes an environment that was copied or moved with its checkout that of the checkout it lies in.

Its path stands in the first line of its programs, in the links of the editable install and in what
`activate` sets; nothing is downloaded. Any Python runs it, in the checkout.
"""

import re
import shutil
from pathlib import Path
from urllib.parse import quote


def relocate(checkout: Path) -> None:
    """Replace the checkout's old path in text files and links of its `.venv`.

    Non-obvious: every file is replaced, not written to, for uv links files to its cache; `activate`
    is the last one, for the old path is read there, and this may be interrupted.
    """
    environment = checkout / ".venv"
    activate = environment / "bin" / "activate"
    named = re.search(r"^\s*VIRTUAL_ENV='?(/.*?)/[^/]+?'?$", activate.read_text(), re.MULTILINE)
    old, new = named[1] if named else "", str(checkout)
    if not old or Path(old).resolve() == checkout:
        return
    print(f"set-up: .venv was made for {old}; it is made to fit {new}", flush=True)
    files = [
        *(path for path in (environment / "bin").iterdir() if path != activate),
        environment / "pyvenv.cfg",
        *environment.glob("lib/python*/site-packages/*.pth"),
        *environment.glob("lib/python*/site-packages/*/direct_url.json"),
        activate,
    ]
    for path in files:
        if path.is_symlink():
            target = str(path.readlink())
            if target.startswith(f"{old}/"):
                path.unlink()
                path.symlink_to(new + target.removeprefix(old))
        elif path.is_file():
            replace_in(path, {old: new, quote(old): quote(new)})


def replace_in(path: Path, paths: dict[str, str]) -> None:
    """Whole `paths` in one file; a binary one stays as it is."""
    before = path.read_bytes()
    if b"\0" in before[:8192]:
        return
    after = before
    for old, new in paths.items():
        whole = re.escape(old.encode()) + rb"(?=[/'\"\s]|$)"
        after = re.sub(whole, lambda _, new=new: new.encode(), after)
    if after != before:
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(after)
        shutil.copymode(path, fresh)
        fresh.replace(path)


if __name__ == "__main__":
    relocate(Path.cwd().resolve())
