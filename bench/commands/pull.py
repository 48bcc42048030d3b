"""`wmbench pull`: fetch the small files of a run on another machine, as often as you want, also
while the run continues."""

import argparse
import sys
from pathlib import Path

HELP = "fetch a run from another machine with rsync, also while the run continues"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="HOST:DIR",
        help="run directory on the other machine, as for ssh and rsync; or one on this machine",
    )
    parser.add_argument(
        "destination",
        metavar="DEST",
        nargs="?",
        type=Path,
        help="run directory here; default: results/NAME",
    )
    parser.add_argument("--weights", action="store_true", help="include its checkpoints")


def run(options: argparse.Namespace) -> int:
    """0: everything is here. 1: a journal here has more than there, and stayed. 2: it failed."""
    from bench.share.pull import pull

    pulled = pull(options.source, options.destination, options.weights)
    print(f"{len(pulled.new)} new and {len(pulled.changed)} changed files in {pulled.run_dir}")
    for sentence in pulled.kept:
        print(sentence, file=sys.stderr)
    print(f"wmbench verify {pulled.run_dir}")
    return 1 if pulled.kept else 0
