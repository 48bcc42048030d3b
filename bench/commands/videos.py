"""`wmbench videos`: make films of a run's episodes by playing them again. An episode that goes
differently this time gets no film. If there is a report, it is written again with the films."""

import argparse
import sys
from pathlib import Path

HELP = "make mp4 films of failures, of discordant episodes side by side, or of chosen episodes"
MOST = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "run_dir",
        metavar="DIR",
        type=Path,
        help="run directory, on the machine that has its checkpoints",
    )
    add(
        "--failures",
        action="store_true",
        help="episodes that were not solved, of every rollout: videos/<case>-<index>.mp4",
    )
    add(
        "--discordant",
        action="store_true",
        help=(
            "episodes that one side of a claim solved and the other did not:"
            " videos/<left>-vs-<right>-<index>.mp4"
        ),
    )
    add("--episodes", metavar="N,N", help="these rows of the episode table, of every rollout")
    add(
        "--limit",
        metavar="N",
        type=int,
        default=MOST,
        help=f"films of each rollout and of each pair, default: {MOST}",
    )
    parser.epilog = (
        "The default is --failures --discordant. Films that exist already are not made again."
    )


def run(options: argparse.Namespace) -> int:
    """0: every film is there. 1: an episode went otherwise than recorded. 2: bad usage."""
    from bench.forecast.requirements import require
    from bench.plan.files import load_plan
    from bench.record.journal import read_journals
    from bench.run.executor import Executor
    from bench.run.film_choice import choose, parse_episodes
    from wmvla.errors import UserError

    plan = load_plan(options.run_dir)
    rows = read_journals(plan, options.run_dir)
    episodes = parse_episodes(options.episodes)
    if options.limit < 1:
        raise UserError(f"--limit {options.limit}: must be at least 1")
    everything = not (options.failures or options.discordant or episodes)
    failures, discordant = options.failures or everything, options.discordant or everything
    films = choose(plan, rows, failures, discordant, episodes, limit=options.limit)
    if not films.episodes():
        print("nothing to film: no episode matches the choice")
        return 0
    require(plan)
    executor = Executor(plan, options.run_dir, lambda line: print(line, flush=True))
    by_index = {case: {row["index"]: row for row in found} for case, found in rows.items()}
    written, refused = executor.film(films, by_index)
    for path in written:
        print(path)
    for sentence in refused:
        print(sentence, file=sys.stderr)
    if films.left_out:
        print(f"{films.left_out} more were left out, because of --limit {options.limit}")
    print(f"report: {_shown_in_report(options.run_dir)}")
    return 1 if refused else 0


def _shown_in_report(run_dir: Path) -> str:
    """Write an existing report again, with the films, and the manifest; what was done, in words."""
    from bench.formats.strict_json import read_object
    from bench.report.write import write_report
    from bench.verify.manifest import write_manifest

    report = read_object(run_dir / "report.json")
    if report is None:
        return f"none yet; wmbench report {run_dir} makes one that shows the films"
    if "templates" in report:
        how = f"wmbench report {run_dir} --templates FOLDER shows the films"
        return f"not written again, because it was made with other templates; {how}"
    written = write_report(run_dir)
    write_manifest(run_dir, ran=False)
    return f"{written}, written again with the films"
