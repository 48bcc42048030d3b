"""The arrows point one way: read from the syntax trees, so imports inside functions count too."""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

BENCH = (
    "formats",
    "host",
    "plan",
    "record",
    "judge",
    "forecast",
    "wording",
    "compare",
    "run",
    "report",
    "verify",
    "share",
    "doctor",
    "calibration",
    "commands",
    "cli",
)
"""The rooms of bench. Each imports those before it, and no other."""
WMVLA_LEAVES = (
    "checkout",
    "documents",
    "errors",
    "files",
    "lock_probe",
    "processes",
    "json_lines",
    "json_columns",
    "progress",
    "ranges",
    "recipe",
    "resources",
    "streams",
    "watch",
)
"""Modules that belong to every room of wmvla; they import the standard library, psutil, msgspec and each other."""
WMVLA = (
    WMVLA_LEAVES,
    "watch",
    "forks",
    "data",
    "sim",
    "world",
    "policy",
    "rollout",
    "train",
    "wiring",
    "commands",
    "plugin",
)
"""The rooms of wmvla, in the same way."""
SHARED = (
    *(f"wmvla.{leaf}" for leaf in WMVLA_LEAVES if leaf not in ("resources", "streams", "watch")),
    "wmvla.rollout.journal",
    "wmvla.rollout.lock",
    "wmvla.rollout.shard",
    "wmvla.rollout.tally",
)
"""What bench may use of wmvla anywhere: these import the standard library, filelock, msgspec, numpy,
psutil and each other.

Non-obvious: msgspec, because documents that both read are typed classes with ranges; numpy, because
journals are read as columns."""
CALLS_WMVLA = ("bench.run.executor", "bench.run.stages")
"""The one place that calls wmvla: the executor and the stages it carries out."""
ASK_ABOUT_THE_MACHINE = ("bench.doctor.checks", "bench.host.hardware", "bench.forecast.hub")
"""These may ask wmvla's simulator what renders here, where its scenes are and what it shows."""
BENCHMARKS = ("suites.throughput",)
"""Plain benchmarks: they time wmvla itself and have no plan, so no executor."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(package: str) -> list[str]:
    return [module_name(path) for path in sorted((ROOT / package.replace(".", "/")).rglob("*.py"))]


def imports_of(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Every module that `source` imports, as absolute dotted names; `from a import b` gives
    `a.b`."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("importlib.import_module", "import_module", "__import__")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)


def imports(module: str) -> set[str]:
    path = ROOT / module.replace(".", "/")
    is_package = path.is_dir()
    file = path / "__init__.py" if is_package else path.with_suffix(".py")
    return set(imports_of(file.read_text(), module, is_package))


def inside(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize(
    ("source", "module", "expected"),
    [
        ("import torch.nn as nn", "wmvla.a", {"torch.nn"}),
        ("from . import b", "wmvla.policy.a", {"wmvla.policy.b"}),
        ("from ..world import z", "wmvla.policy.a", {"wmvla.world.z"}),
        ("def f():\n    from bench import cli", "wmvla.a", {"bench.cli"}),
        (
            "import importlib\nimportlib.import_module('bench.cli')",
            "wmvla.a",
            {"importlib", "bench.cli"},
        ),
    ],
)
def test_reader_sees_every_kind_of_import(source: str, module: str, expected: set[str]) -> None:
    assert set(imports_of(source, module, is_package=False)) == expected


def room(module: str) -> str:
    """``bench.judge`` of ``bench.judge.rule``."""
    return ".".join(module.split(".")[:2])


def arrows(package: str) -> dict[str, set[str]]:
    """By module the modules of the same package that it imports."""
    known = set(modules(package))

    def module_of(name: str) -> str | None:
        return next((m for m in (name, name.rpartition(".")[0]) if m in known), None)

    found = {}
    for module in known:
        targets = {target for name in imports(module) if (target := module_of(name)) is not None}
        # `from bench.plan import x` reaches the module x; the package's own file holds a docstring
        found[module] = {t for t in targets if t != module and not module.startswith(f"{t}.")}
    return found


def circles(arrows: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Groups whose members reach each other."""
    sorter: TopologicalSorter[str] = TopologicalSorter(arrows)
    try:
        sorter.prepare()
    except CycleError as error:
        return [tuple(error.args[1])]
    return []


def between(arrows: dict[str, set[str]], depth: int) -> dict[str, set[str]]:
    """The same between packages: modules' names cut to that many parts."""
    cut: dict[str, set[str]] = {}
    for module, targets in arrows.items():
        own = ".".join(module.split(".")[:depth])
        others = {".".join(target.split(".")[:depth]) for target in targets}
        cut.setdefault(own, set()).update(others - {own})
    return cut


@pytest.mark.parametrize("package", ["bench", "wmvla"])
def test_there_is_no_circle_between_files_nor_between_packages(package: str) -> None:
    found = arrows(package)
    assert not circles(found)
    for depth in (2, 3, 4):
        assert not circles(between(found, depth)), f"between packages of depth {depth}"


def test_the_circle_finder_finds_a_circle() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


@pytest.mark.parametrize(
    ("package", "order"),
    [
        ("bench", [(name,) for name in BENCH]),
        ("wmvla", [w if isinstance(w, tuple) else (w,) for w in WMVLA]),
    ],
)
def test_every_room_imports_only_rooms_before_it(
    package: str, order: list[tuple[str, ...]]
) -> None:
    rank = {f"{package}.{name}": place for place, names in enumerate(order) for name in names}
    found = arrows(package)
    rooms = {room(module) for module in found if module != package}
    assert rooms == set(rank), "every room has a place in the order"
    wrong = [
        f"{module} -> {target}"
        for module, targets in sorted(found.items())
        for target in sorted(targets)
        if package not in (module, target) and rank[room(target)] > rank[room(module)]
    ]
    assert not wrong


def test_at_most_four_modules_lie_directly_in_bench() -> None:
    assert len([path for path in (ROOT / "bench").glob("*.py") if path.name != "__init__.py"]) <= 4


def test_there_is_something_to_check() -> None:
    assert {"wmvla.recipe", "bench.plan.document", "bench.record.provenance"} <= {
        *modules("wmvla"),
        *modules("bench"),
    }


@pytest.mark.parametrize("module", modules("wmvla"))
def test_wmvla_never_imports_bench_or_suites(module: str) -> None:
    assert not [name for name in imports(module) if inside(name, "bench", "suites")]


@pytest.mark.parametrize("module", SHARED)
def test_leaves_import_no_heavy_library(module: str) -> None:
    outside = {name.split(".")[0] for name in imports(module) if not inside(name, *SHARED)}
    assert outside <= sys.stdlib_module_names | {"filelock", "msgspec", "numpy", "psutil"}


@pytest.mark.parametrize("module", modules("bench.judge.stats"))
def test_statistics_import_numpy_and_scipy_only(module: str) -> None:
    allowed = sys.stdlib_module_names | {"numpy", "scipy"}
    outside = {name for name in imports(module) if not inside(name, "bench.judge.stats")}
    assert {name.split(".")[0] for name in outside} <= allowed


@pytest.mark.parametrize("module", modules("bench") + modules("suites"))
def test_only_the_executor_calls_wmvla(module: str) -> None:
    if inside(module, *CALLS_WMVLA, *ASK_ABOUT_THE_MACHINE, *BENCHMARKS):
        return
    assert not [
        name for name in imports(module) if inside(name, "wmvla") and not inside(name, *SHARED)
    ]


@pytest.mark.parametrize("module", modules("bench") + modules("suites"))
def test_only_the_executor_knows_its_stages(module: str) -> None:
    if inside(module, *CALLS_WMVLA):
        return
    assert not [name for name in imports(module) if inside(name, "bench.run.stages")]


@pytest.mark.parametrize("module", ASK_ABOUT_THE_MACHINE)
def test_looking_at_the_machine_touches_the_simulator_only(module: str) -> None:
    asked = {
        name for name in imports(module) if inside(name, "wmvla") and not inside(name, *SHARED)
    }
    cameras = "wmvla.sim.libero.fast.cameras.MUJOCO_CAMERAS"
    assert asked <= {"wmvla.sim.libero.assets", "wmvla.sim.libero.task_files", cameras}


@pytest.mark.parametrize("module", modules("bench"))
def test_bench_needs_torch_in_functions_only(module: str) -> None:
    """`wmbench plan` and `report` must not wait for torch: nothing in bench imports it at module
    level."""
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(file.read_text()).body:
        names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {node.module}
        assert not [name for name in names if inside(name, "torch", "lerobot", "transformers")]


@pytest.mark.parametrize("module", modules("bench.report"))
def test_report_never_imports_torch(module: str) -> None:
    heavy = ("torch", "lerobot", "transformers", "wmvla")
    assert not [
        name for name in imports(module) if inside(name, *heavy) and not inside(name, *SHARED)
    ]
