"""`wmbench verify`: check that a run directory, or a packed run, is complete and unchanged, and
that its numbers follow from its episodes. Needs no network."""

import argparse
import dataclasses
import json
from pathlib import Path

HELP = "check a run: checksums, schemas, every row against the plan; compute every number again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_dir",
        metavar="DIR",
        type=Path,
        help="run directory, or a file that wmbench pack has made",
    )
    parser.add_argument(
        "--seal",
        metavar="SHA256",
        help="the published seal of the run: the run must have the same one",
    )
    parser.add_argument(
        "--templates",
        metavar="FOLDER",
        type=Path,
        help=(
            "folder of the jinja2 templates that the reports were made with, if not the built-in "
            "ones"
        ),
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """0: nothing is wrong. 1: something is, each on a line. 2: no run directory."""
    from bench.share.pack import verify_packed
    from bench.verify.verify import verify

    path: Path = options.run_dir
    look = verify_packed if path.is_file() else verify
    verified = look(path, options.seal, options.templates)
    if options.json:
        content = {"ok": not verified.damages, **dataclasses.asdict(verified)}
        print(json.dumps(content, indent=1))
        return 1 if verified.damages else 0
    for heading, found in (
        ("checked", verified.checked),
        ("note", verified.notes),
        ("WRONG", verified.damages),
    ):
        for each in found:
            print(f"{heading}: {each}")
    if verified.seal:
        print(f"seal: {verified.seal}")
    print(f"attestation: {verified.attestation}")
    number = len(verified.damages)
    wrong = f"{number} thing{'s are' if number > 1 else ' is'} wrong"
    print(f"{verified.run} ({verified.state}): {wrong if number else 'nothing is wrong'}")
    return 1 if verified.damages else 0
