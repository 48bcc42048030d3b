"""The `wmbench` command line. Exit code 0: yes. 1: the answer is no. 2: bad usage, in one line.
143: SIGTERM stopped it in order."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from bench.commands import (
    compare,
    history,
    import_results,
    pack,
    plan,
    pull,
    report,
    run,
    status,
    submit,
    verify,
    videos,
)
from bench.commands.standard_output import outlive_readers
from wmvla.checkout import require_own_code
from wmvla.errors import answer

COMMANDS = {
    "plan": plan,
    "run": run,
    "submit": submit,
    "status": status,
    "report": report,
    "compare": compare,
    "verify": verify,
    "pack": pack,
    "pull": pull,
    "import": import_results,
    "history": history,
    "videos": videos,
}
DOCTOR_HELP = "show what this machine has, and how to fix what is missing"


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def make_parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog="wmbench", description="Plans, runs, judges and reports world-memory benchmarks."
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=command.HELP, description=command.__doc__)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    subparsers.add_parser("doctor", help=DOCTOR_HELP, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    outlive_readers()
    try:
        return answer(lambda: run_command(arguments))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def run_command(arguments: Sequence[str]) -> int:
    require_own_code(sys.argv[0])
    if arguments[:1] == ["doctor"]:
        from bench.doctor import checks

        return checks.main(arguments[1:])
    options = make_parser().parse_args(arguments, argparse.Namespace(given=arguments))
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())
