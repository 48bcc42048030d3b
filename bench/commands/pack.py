"""`wmbench pack`: pack a run directory into one file that can be verified elsewhere. The bytes are
the same on every machine."""

import argparse
from pathlib import Path

HELP = "pack a run directory into one file, without weights, to be verified elsewhere"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", metavar="DIR", type=Path, help="run directory")
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        type=Path,
        help="a .tar.gz or .tar.zst; default: RUN.tar.gz here",
    )
    parser.add_argument("--weights", action="store_true", help="include its checkpoints")
    parser.add_argument(
        "--with-names",
        action="store_true",
        help="pack it even if a file contains the name of this user or this host",
    )


def run(options: argparse.Namespace) -> int:
    """0: it is packed. 2: no run directory, or it cannot be."""
    from bench.formats.checksums import sha256_of
    from bench.share.pack import pack

    out = pack(options.run_dir, options.out, options.weights, options.with_names)
    print(f"{sha256_of(out)}  {out}")
    print(f"wmbench verify {out}")
    return 0
