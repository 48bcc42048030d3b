"""Plans: what the hash covers, the episode table, cases in order of need, overrides, and the file
on disk."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plan.document import Plan
from bench.plan.files import load_plan, plan_from_json, write_plan
from bench.plan.machine import load_machine
from bench.plan.make import make_plan, resolve_plan
from bench.plan.overrides import Overrides, parse_overrides
from bench.plan.seeds import derive_seed
from bench.plan.suite import load_suite
from wmvla.errors import UserError
from wmvla.recipe import ArmFields

ROOT = Path(__file__).parents[3]
CORE = load_suite("core")
CPU = load_machine("cpu")


def plan_of(scale: str = "smoke", **overrides: object) -> Plan:
    return make_plan(CORE, scale, CPU, Overrides(**overrides))  # type: ignore[arg-type]


def test_cases_come_in_order_of_need() -> None:
    cases = plan_of(seeds=(0, 1)).cases
    assert [case.id for case in cases[:3]] == ["demonstrations", "base", "latents"]
    assert [case.id for case in cases if case.kind == "train"] == [
        f"{arm}-train-s{seed}" for seed in (0, 1) for arm in ("E0", "E1", "E2")
    ]
    assert [case.id for case in cases if case.kind == "rollout" and case.seed == 1] == [
        "E0-none-s1",
        "E1-zero-s1",
        "E2-pred-s1",
        "E2-zero-s1",
        "E2-random-s1",
    ]
    done: set[str] = set()
    for case in cases:
        assert done.issuperset(case.needs), case.id
        done.add(case.id)
    assert plan_of().case("E2-zero-s0").needs == ("E2-train-s0",)
    assert plan_of().case("E2-replay-s0").needs == ("E2-train-s0", "held-out")


def test_every_tripwire_comes_before_every_training() -> None:
    cases = plan_of().cases
    tripwires = [case for case in cases if case.kind == "wiring"]
    assert [case.id for case in tripwires] == [
        f"wiring-{name}" for name in ("gate", "processors", "latents", "nan", "toy")
    ]
    assert all({"base", "latents"} <= set(case.needs) for case in tripwires)
    trainings = [case for case in cases if case.kind == "train"]
    assert all(
        {tripwire.id for tripwire in tripwires} <= set(training.needs) for training in trainings
    )


def test_every_world_arm_and_seed_is_replayed_where_something_is_held_out() -> None:
    replays = [case.id for case in plan_of(seeds=(0, 1)).cases if case.kind == "replay"]
    assert replays == ["E1-replay-s0", "E2-replay-s0", "E1-replay-s1", "E2-replay-s1"]
    assert not [case for case in plan_of("full").cases if case.kind in ("replay", "held-out")]
    assert not [
        case
        for case in plan_of(arms=("E0",)).cases
        if case.kind in ("replay", "held-out", "wiring")
    ]


def test_what_is_held_out_is_not_trained_on() -> None:
    smoke = CORE.scales["smoke"]
    for changes, message in (
        (
            {"held_out": (0,)},
            "'demonstrations.held_out' has 0, which 'demonstrations.inits' uses for training",
        ),
        ({"source": "hub"}, "'demonstrations.held_out' needs source 'expert'"),
    ):
        scale = dataclasses.replace(
            smoke, demonstrations=dataclasses.replace(smoke.demonstrations, **changes)
        )
        with pytest.raises(UserError, match=message):
            make_plan(dataclasses.replace(CORE, scales={"smoke": scale}), "smoke", CPU)


def test_what_was_added_later_counts_only_where_it_is_set() -> None:
    """Plans that were written before arms had fields, worlds cameras and demonstrations held-out
    ones keep their hash."""
    plan = plan_of()
    old = plan.to_json()
    for arm in old["arms"].values():
        assert arm.pop("fields") == {}
    assert old["recipe"]["world"].pop("camera") == "front"
    assert plan_from_json(old) == plan

    fields = dataclasses.replace(plan.arms["E2"], fields=ArmFields(world_detach_memory=False))
    camera = dataclasses.replace(plan.recipe.world, camera="both")
    demonstrations = dataclasses.replace(plan.recipe.demonstrations, held_out=())
    for changed in (
        dataclasses.replace(plan, arms={**plan.arms, "E2": fields}),
        dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, world=camera)),
        dataclasses.replace(
            plan, recipe=dataclasses.replace(plan.recipe, demonstrations=demonstrations)
        ),
    ):
        assert changed.hash != plan.hash
        assert plan_from_json(json.loads(json.dumps(changed.to_json()))) == changed


def test_without_a_world_arm_there_are_no_latents() -> None:
    assert "latents" not in [case.id for case in plan_of(arms=("E0",)).cases]


def test_claims_that_miss_an_arm_are_not_asked() -> None:
    plan = plan_of(arms=("E0", "E1"))
    assert {claim.id: claim.asked for claim in plan.claims} == {
        "E1 = E0": True,
        "E2 > E0": False,
        "pred > zero": False,
        "random < pred": False,
    }


def test_more_episodes_than_inits_repeat_them_in_the_same_scene_with_other_noise() -> None:
    rows = plan_of(episodes=5).episodes
    assert [(row.init, row.repeat) for row in rows] == [(1, 0), (2, 0), (1, 1), (2, 1), (1, 2)]
    assert rows[0].env_seed == rows[2].env_seed
    assert rows[0].noise_seed != rows[2].noise_seed
    assert rows[0].env_seed != rows[1].env_seed
    assert [row.index for row in rows] == list(range(5))


def test_full_scale_table_has_every_task_and_init_four_times() -> None:
    rows = plan_of("full").episodes
    assert len(rows) == 2000
    assert len({(row.task, row.init) for row in rows}) == 500
    assert len({row.noise_seed for row in rows}) == 2000


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_longer_table_begins_like_a_shorter_one(one: int, other: int) -> None:
    short, long = sorted((one, other))
    assert plan_of(episodes=long).episodes[:short] == plan_of(episodes=short).episodes


def test_derived_seeds_are_fixed_for_ever() -> None:
    """Typed in from `printf '2000\\x1fnoise\\x1f7' | sha256sum`, shifted right by one bit."""
    assert derive_seed(2000, "noise", 7) == 0x312E0BA9 >> 1


@given(st.lists(st.one_of(st.integers(), st.text("abc")), min_size=1, max_size=3))
def test_derived_seeds_fit_in_31_bits(labels: list[int | str]) -> None:
    assert 0 <= derive_seed(0, *labels) < 2**31


def test_hash_ignores_wording_and_nothing_else() -> None:
    plan = plan_of()
    arms = {**plan.arms, "E0": dataclasses.replace(plan.arms["E0"], title="another")}
    claims = (dataclasses.replace(plan.claims[0], says="another"), *plan.claims[1:])
    same = dataclasses.replace(
        plan, question="?", summary="?", cannot_say=(), arms=arms, claims=claims
    )
    assert same.hash == plan.hash

    margin = (dataclasses.replace(plan.claims[0], margin=0.06), *plan.claims[1:])
    training = dataclasses.replace(plan.recipe.training, learning_rate=2e-3)
    sought = (plan.claims[0], dataclasses.replace(plan.claims[1], effect=0.03), *plan.claims[2:])
    for changed in (
        dataclasses.replace(plan, claims=sought),
        dataclasses.replace(plan, method=dataclasses.replace(plan.method, seeds="resampled")),
        dataclasses.replace(plan, alpha=0.04),
        dataclasses.replace(plan, claims=margin),
        dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, training=training)),
        dataclasses.replace(plan, machine=dataclasses.replace(plan.machine, training_processes=1)),
        dataclasses.replace(plan, machine=dataclasses.replace(plan.machine, strategy="zero2")),
        dataclasses.replace(plan, machine=dataclasses.replace(plan.machine, accumulation_steps=2)),
        dataclasses.replace(plan, machine=dataclasses.replace(plan.machine, nodes=2)),
        dataclasses.replace(plan, method=dataclasses.replace(plan.method, bootstrap_resamples=1)),
        dataclasses.replace(plan, concludes=True),
        plan_of(sequential="pocock"),
        plan_of(seeds=(1,)),
        plan_of(arms=("E0", "E2")),
        plan_of(episodes=1),
    ):
        assert changed.hash != plan.hash


@pytest.mark.parametrize(("machine", "first"), [("cpu", 2), ("cuda", 8), ("rocm", 16)])
def test_hash_does_not_depend_on_how_many_simulators_play(machine: str, first: int) -> None:
    """Results do not; and the first plans, which counted the number, keep their hash."""
    plan = make_plan(CORE, "mini", load_machine(machine))
    assert plan.machine.rollout_workers == 0
    for number in (1, first, 64):
        other = dataclasses.replace(
            plan, machine=dataclasses.replace(plan.machine, rollout_workers=number)
        )
        assert other.hash == plan.hash
        assert plan_from_json(json.loads(json.dumps(other.to_json()))) == other


def test_a_batch_that_cannot_be_cut_into_the_machines_parts_is_refused() -> None:
    machine = dataclasses.replace(CPU, accumulation_steps=32)
    with pytest.raises(
        UserError,
        match=(
            r"batch size 32 cannot be split evenly over the 2 training processes of .* in 32 parts"
            r" each"
        ),
    ):
        make_plan(CORE, "mini", machine)
    assert (
        make_plan(
            CORE, "mini", dataclasses.replace(CPU, accumulation_steps=16)
        ).machine.accumulation_steps
        == 16
    )


def test_the_reference_run_is_of_the_plan_that_the_same_command_makes_today() -> None:
    (found,) = (ROOT / "results" / "reference").glob("cpu_core_mini_*")
    reference = load_plan(found)
    assert reference.machine.rollout_workers == 0
    assert make_plan(CORE, "mini", CPU).hash == reference.hash
    assert reference.run_name == "core-mini-cpu-a5da19a6"


def test_the_order_in_which_seeds_and_arms_are_given_does_not_matter() -> None:
    one = make_plan(CORE, "smoke", CPU, parse_overrides(seeds="1,0", arms="E2,E0"))
    other = make_plan(CORE, "smoke", CPU, parse_overrides(seeds="0,1", arms="E0,E2"))
    assert one.hash == other.hash


def test_run_name_and_defaults() -> None:
    plan = resolve_plan("core", machine="cpu")
    assert plan.scale == "mini"
    assert plan.run_name == f"core-mini-cpu-{plan.hash[:8]}"


@pytest.mark.parametrize(
    ("overrides", "steps", "batch"),
    [
        ({}, 600, 32),
        ({"steps": 10}, 10, 32),
        ({"batch_size": 64}, 300, 64),
        ({"batch_size": 50}, 384, 50),
        ({"total_samples": 1000}, 32, 32),
        ({"total_samples": 1000, "batch_size": 10}, 100, 10),
        ({"total_samples": 1000, "batch_size": 10, "steps": 100}, 100, 10),
        ({"steps": 7, "batch_size": 10}, 7, 10),
    ],
)
def test_sample_budget(overrides: dict[str, int], steps: int, batch: int) -> None:
    plan = plan_of("mini", **overrides)
    assert (plan.recipe.training.steps, plan.recipe.training.batch_size) == (steps, batch)
    assert plan.recipe.base_training == plan_of("mini").recipe.base_training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": "0"}, "EPISODES=0: must be at least 1"),
        ({"episodes": "10,20"}, "EPISODES=10,20: give one number for every arm"),
        ({"episodes": "many"}, "EPISODES=many: not a whole number"),
        ({"episodes": ""}, "EPISODES=: not a whole number"),
        ({"arms": ""}, "ARMS=: an entry is empty"),
        ({"seeds": "0,0"}, "SEEDS=0,0: an entry is given twice"),
        ({"seeds": "-1"}, "SEEDS=-1: must be at least 0"),
        ({"arms": "E0,,E2"}, "ARMS=E0,,E2: an entry is empty"),
        ({"arms": "E0,E5"}, "unknown arm 'E5' of suite 'core'; did you mean 'E"),
        ({"steps": "0"}, "STEPS=0: must be at least 1"),
        ({"batch_size": "3"}, "batch size 3 cannot be split evenly over the 2 training processes"),
        ({"steps": "10", "total_samples": "1000"}, "STEPS=10 and TOTAL_SAMPLES=1000 disagree"),
    ],
)
def test_bad_overrides_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as refused:
        make_plan(CORE, "mini", CPU, parse_overrides(**options))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unknown_scale_names_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown scale 'mni' of suite 'core'; did you mean 'mini'"):
        plan_of("mni")


def test_plan_survives_the_disk(tmp_path: Path) -> None:
    plan = plan_of("mini", seeds=(0, 3))
    path = write_plan(plan, tmp_path / "run")
    before = path.read_bytes()
    assert load_plan(tmp_path / "run") == plan
    write_plan(plan, tmp_path / "run")
    assert path.read_bytes() == before
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["plan.json"]


def test_run_directory_of_another_plan_is_refused(tmp_path: Path) -> None:
    write_plan(plan_of(), tmp_path)
    with pytest.raises(UserError, match="run directory of another plan"):
        write_plan(plan_of(episodes=1), tmp_path)


def test_a_changed_plan_file_is_refused(tmp_path: Path) -> None:
    path = write_plan(plan_of(), tmp_path)
    data = json.loads(path.read_text())
    data["claims"][0]["margin"] = 0.2
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match="changed after it was written"):
        load_plan(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("{}", "missing key 'hash'"),
        ("[]", "missing key 'hash'"),
        ('{"hash": "0", "version": 1}', "'version' is 1, this program reads 2"),
        ('{"hash": "0", "version": 99}', "'version' is 99, this program reads 2"),
        ('{"hash": "0", "version": 2, "suit": 1}', "unknown key 'suit'; did you mean 'suite'"),
    ],
)
def test_a_broken_plan_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UserError, match=message):
        load_plan(tmp_path)


def test_a_folder_without_a_plan_is_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run directory"):
        load_plan(tmp_path)
