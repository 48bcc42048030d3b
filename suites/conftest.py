"""Turns a plan into pytest items: ``pytest suites/ -k E2`` runs the cases of arm E2 and what they
need, nothing else."""

import shlex
import sys
from collections.abc import Callable, Iterator
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
from bench.forecast.requirements import require
from bench.plan.document import Plan
from bench.plan.files import write_plan
from bench.plan.suite import load_suite
from bench.record.privacy import anonymous
from bench.record.provenance import collect
from bench.run.executor import Executor
from bench.run.sigterm import interrupt_on_sigterm
from bench.run.tripwire import TripwireError
from wmvla.errors import UserError
from wmvla.files import write_json
from wmvla.rollout.lock import lock
from wmvla.rollout.shard import Shard, rows_of

SUITES = Path(__file__).parent
ALL = "all"
PLANS = pytest.StashKey[dict[str, Plan]]()
CHOSEN = pytest.StashKey[frozenset[str]]()
SHARD = pytest.StashKey[Shard | None]()
CASES = pytest.StashKey[dict[str, tuple[str, ...]]]()
MISTAKE = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("worldbench")
    group.addoption(
        "--suite", default="core", metavar="NAME", help="suite to run, or 'all'; default: core"
    )
    add_plan_options(group.addoption)
    add_run_options(group.addoption)


def pytest_configure(config: pytest.Config) -> None:
    """Resolve the plans before anything is collected, so that bad usage ends in one line and exit
    code 2."""
    interrupt_on_sigterm()
    if config.option.offline:
        go_offline()
    folders = {path.parent.name for path in SUITES.glob("*/test_*.py")}
    wanted = config.option.suite
    chosen = sorted(folders) if wanted == ALL else [wanted]
    config.stash[CHOSEN] = frozenset(chosen)
    # A folder of plain benchmarks, such as throughput, has tests and no plan.
    names = [
        name for name in chosen if name not in folders or (SUITES / name / "suite.toml").is_file()
    ]
    try:
        config.stash[PLANS] = {
            load_suite(name, SUITES).name: plan_from(name, config.option) for name in names
        }
        config.stash[SHARD] = shard_from(config.option, *config.stash[PLANS].values())
        config.stash[CASES] = {
            name: cases_from(plan, config.option) for name, plan in config.stash[PLANS].items()
        }
        for name, plan in config.stash[PLANS].items():
            require(plan, config.stash[CASES][name])
    except UserError as error:
        stop(config, error)


def stop(config: pytest.Config, error: UserError | TripwireError) -> NoReturn:
    """End the session; the last line on standard error says why.

    Exit code 2 for what the user can mend, 1 for a tripwire: the answer to whether anything may be
    trained is no.
    """
    config.stash[MISTAKE] = f"error: {error}"
    pytest.exit(
        "stopped; the last line says why", returncode=1 if isinstance(error, TripwireError) else 2
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    if MISTAKE in config.stash:
        print(config.stash[MISTAKE], file=sys.stderr)


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """What `--benchmark-json` writes is sent to others, and lies in run directories: it does not
    name the host."""
    machine_info["node"] = anonymous(machine_info["node"])


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect the folders of the chosen suites only."""
    if collection_path.parent == SUITES and collection_path.is_dir():
        return collection_path.name not in config.stash[CHOSEN]
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test function that asks for ``case_id`` becomes one item per case of its suite's plan that
    is to be done here.

    Those are the cases that were named; else, of a shard, all rollouts.
    """
    if "case_id" in metafunc.fixturenames:
        suite = metafunc.definition.path.parent.name
        plan = metafunc.config.stash[PLANS][suite]
        cases = plan.rollout_cases() if metafunc.config.stash[SHARD] else plan.cases
        metafunc.parametrize(
            "case_id", metafunc.config.stash[CASES][suite] or [case.id for case in cases]
        )


@pytest.fixture(scope="package")
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """The executor of the suite's plan, holding its run directory."""
    config = request.config
    capture = config.pluginmanager.getplugin("capturemanager")
    plan = config.stash[PLANS][request.path.parent.name]
    run_dir, shard, cases = (
        run_dir_of(plan, config.option),
        config.stash[SHARD],
        config.stash[CASES][plan.suite],
    )

    def show(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(line, flush=True)

    try:
        with lock(run_dir, shard, cases):
            write_plan(plan, run_dir)
            executor = Executor(
                plan,
                run_dir,
                show,
                trackers_from(config.option),
                config.option.deterministic,
                shard,
                cases,
            )
            if shard or cases:
                refuse_undone_needs(executor, request)
            if not (run_dir / "provenance.json").exists():
                write_json(run_dir / "provenance.json", collect())
            yield executor
    except UserError as error:
        stop(config, error)


def refuse_undone_needs(executor: Executor, request: pytest.FixtureRequest) -> None:
    """UserError where what is to be done here needs a case that is another process's to do, and
    that is not done.

    Non-obvious: of several named cases the others are carried out, and those that lack something
    fail by themselves.
    """
    chosen = [
        item.callspec.params["case_id"]
        for item in request.session.items
        if item.path.parent == request.path.parent
        and isinstance(item, pytest.Function)
        and "case_id" in item.fixturenames
    ]
    needs = {
        case_id: need
        for case_id in chosen
        if (need := executor.undone_need(case_id)) not in (None, *chosen)
    }
    if needs and (executor.context.shard or len(needs) == len(chosen)):
        case_id, need = next(iter(needs.items()))
        flags = " ".join(map(shlex.quote, as_flags(request.config.option)))
        command = f"pytest suites/ --suite={executor.context.plan.suite} {flags} -k {need}"
        reason = "a shard only plays" if executor.context.shard else "--case does that case alone"
        raise UserError(
            f"{case_id} needs {need}, which is not done, and {reason}; first: {command}"
        )


@pytest.fixture
def play_case(
    executor: Executor, benchmark: Any, request: pytest.FixtureRequest
) -> Callable[[str], dict[str, Any]]:
    """Runs one case under pytest-benchmark, checks that its record is whole, and returns it.

    Non-obvious: a case that is done already is not done again; then the benchmark's time is that of
    finding so, and ``extra_info`` holds the seconds of the run that did the work.
    """
    plan = executor.context.plan

    def play(case_id: str) -> dict[str, Any]:
        try:
            record: dict[str, Any] = benchmark.pedantic(executor.ensure, args=(case_id,), rounds=1)
        except (UserError, TripwireError) as error:
            stop(request.config, error)
        benchmark.extra_info.update(
            {key: record[key] for key in ("case", "kind", "seconds", "cpu_seconds")}
        )
        case = plan.case(case_id)
        assert record["kind"] == case.kind
        if case.kind == "train":
            assert record["steps"] == plan.recipe.training.steps
        if case.kind == "rollout":
            until = [plan.rows_until(look) for look in range(1, plan.last_look + 1)]
            wanted = {len(rows_of(executor.context.shard, rows)) for rows in until}
            assert record["episodes"] in wanted, (
                "every arm plays the whole episode table, its shard of it, or up to a look"
            )
        if case.kind == "replay":
            planned = len(plan.recipe.environment.tasks) * len(plan.recipe.demonstrations.held_out)
            assert record["episodes"] == planned, "every arm replays every held-out demonstration"
        return record

    return play
