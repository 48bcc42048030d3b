"""Turns plans into pytest items: ``pytest suites/ -k E2`` runs the cases of E2 and their needs."""

import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bench.commands.options import (
    add_plan_options,
    add_run_options,
    as_flags,
    cases_from,
    plan_from,
    run_dir_of,
    shard_from,
    trackers_from,
)
from bench.forecast.hub import go_offline
from bench.plan.document import Plan
from bench.plan.suite import known_suites, load_suite
from bench.record.privacy import anonymous
from bench.run.session import Session, cases_here, session
from bench.run.sigterm import interrupt_on_sigterm
from bench.run.tripwire import TripwireError
from wmvla.errors import UserError
from wmvla.rollout.shard import Shard

SUITES = Path(__file__).parent
ALL = "all"
PLANS = pytest.StashKey[dict[str, Plan]]()
CHOSEN = pytest.StashKey[frozenset[str]]()
SHARD = pytest.StashKey[Shard | None]()
CASES = pytest.StashKey[dict[str, tuple[str, ...]]]()
MISTAKE = pytest.StashKey[str]()
NAME = re.compile(r"[\w:+.\[\]\\/-]+")
"""A name in pytest's ``-k`` expressions."""
KEYWORD = "arm[{}]"
"""What every case of an arm is called beside its own name. No arm's keyword holds another's."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("worldbench")
    group.addoption(
        "--suite", default="core", metavar="NAME", help="suite to run, or 'all'; default: core"
    )
    add_plan_options(group.addoption)
    add_run_options(group.addoption)


def pytest_configure(config: pytest.Config) -> None:
    """Resolve the plans before collection: bad usage ends in one line and exit code 2."""
    stack = ExitStack()
    stack.enter_context(interrupt_on_sigterm())
    config.add_cleanup(stack.close)
    options = config.option
    if options.offline:
        go_offline()
    # A folder of plain benchmarks, such as throughput, has tests and no plan.
    benchmarks = {path.parent.name for path in SUITES.glob("*/test_*.py")}
    planned = known_suites(SUITES)
    chosen = sorted({*benchmarks, *planned}) if options.suite == ALL else [options.suite]
    names = [name for name in chosen if name in planned or name not in benchmarks]
    try:
        plans = {load_suite(name, SUITES).name: plan_from(name, options) for name in names}
        config.stash[PLANS], config.stash[CHOSEN] = plans, frozenset(chosen)
        config.stash[SHARD] = shard_from(options, *plans.values())
        config.stash[CASES] = {name: cases_from(plan, options) for name, plan in plans.items()}
        trackers_from(options)
    except UserError as error:
        stop(config, error)
    arms = {arm for plan in plans.values() for arm in plan.arms}
    options.keyword = arms_by_keyword(options.keyword, arms)


def arms_by_keyword(expression: str, arms: Collection[str]) -> str:
    """A ``-k`` expression in which the name of an arm means that arm and no other. Non-obvious: for
    pytest a name stands for all that contain it: ``E2`` for ``E2-detached`` too."""
    known = {arm.lower() for arm in arms}
    return NAME.sub(
        lambda found: KEYWORD.format(found[0]) if found[0].lower() in known else found[0],
        expression,
    )


def stop(config: pytest.Config, error: UserError | TripwireError) -> NoReturn:
    """End the session; the last line on standard error says why. Exit code 2 for what only the user
    can repair, 1 for a tripwire: nothing may be trained."""
    config.stash[MISTAKE] = f"error: {error}"
    pytest.exit(
        "stopped; the last line says why", returncode=1 if isinstance(error, TripwireError) else 2
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    if MISTAKE in config.stash:
        print(config.stash[MISTAKE], file=sys.stderr)


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """`--benchmark-json` is sent to others, and lies in run directories: it names no host."""
    machine_info["node"] = anonymous(machine_info["node"])


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect the folders of the chosen suites only, and cases where one of them has a plan."""
    if collection_path.parent != SUITES:
        return None
    if collection_path.is_dir():
        return collection_path.name not in config.stash[CHOSEN]
    return not config.stash[PLANS] or None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """An item for each case to be done here, by its name; of several plans, with the suite's."""
    if "case_id" not in metafunc.fixturenames:
        return
    stash = metafunc.config.stash
    found = [
        (suite, case_id)
        for suite, plan in stash[PLANS].items()
        for case_id in cases_here(plan, stash[SHARD], stash[CASES][suite])
    ]
    several = len(stash[PLANS]) > 1
    ids = [f"{case_id}-{suite}" if several else case_id for suite, case_id in found]
    metafunc.parametrize(("suite", "case_id"), found, ids=ids)


def case_of(item: pytest.Item) -> tuple[str, str] | None:
    """The suite and the case that an item carries out; None of another one."""
    if not isinstance(item, pytest.Function) or "case_id" not in item.fixturenames:
        return None
    return item.callspec.params["suite"], item.callspec.params["case_id"]


def pytest_itemcollected(item: pytest.Item) -> None:
    if found := case_of(item):
        suite, case_id = found
        arm = item.config.stash[PLANS][suite].case(case_id).arm
        item.extra_keyword_matches.add(KEYWORD.format(arm))


@pytest.fixture(scope="session")
def session_of(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Session]]:
    """The session of a suite's plan; it holds the run directory until another begins."""
    config, options = request.config, request.config.option
    capture = config.pluginmanager.getplugin("capturemanager")
    opened: dict[str, Session] = {}

    def show(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(line, flush=True)

    with ExitStack() as stack:

        def of(suite: str) -> Session:
            if suite not in opened:
                stack.close()
                opened.clear()
                plan, cases = config.stash[PLANS][suite], config.stash[CASES][suite]
                found = filter(None, map(case_of, request.session.items))
                opened[suite] = stack.enter_context(
                    session(
                        plan,
                        run_dir_of(plan, options),
                        [case_id for its_suite, case_id in found if its_suite == suite],
                        shard=config.stash[SHARD],
                        cases=cases,
                        show=show,
                        trackers=trackers_from(options),
                        deterministic=options.deterministic,
                        flags=as_flags(options),
                    )
                )
            return opened[suite]

        yield of


@pytest.fixture
def carry_out(
    session_of: Callable[[str], Session], benchmark: Any, request: pytest.FixtureRequest
) -> Callable[[str, str], None]:
    """Carries out one case under pytest-benchmark, and fails where its record is not the plan's.
    Non-obvious: a case that is done already is not done again; then the benchmark's time is that of
    finding so, and ``extra_info`` holds the seconds of the run that did the work."""

    def timed(suite: str, case_id: str) -> None:
        try:
            opened = session_of(suite)
            record = benchmark.pedantic(opened.carry_out, args=(case_id,), rounds=1)
        except (UserError, TripwireError) as error:
            stop(request.config, error)
        except KeyboardInterrupt:
            benchmark.has_error = True  # else a benchmark without a time ends in a traceback
            raise
        benchmark.extra_info.update(
            {key: record[key] for key in ("case", "kind", "seconds", "cpu_seconds")}
        )

    return timed
