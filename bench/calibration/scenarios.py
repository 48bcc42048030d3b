"""Known truths: how often each rollout succeeds, how its episodes hang together, what breaks."""

import dataclasses
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from bench.plan.document import Plan
from bench.plan.looks import Spending
from bench.plan.machine import load_machine
from bench.plan.make import make_plan
from bench.plan.overrides import Overrides
from bench.plan.suite import Claim, load_suite

ROLLOUTS = ("E0-none", "E1-zero", "E2-pred", "E2-zero", "E2-random")
TASKS = 10
"""Of every scenario that does not say otherwise."""
SAME = 0.70
Rates = tuple[float, ...]


@dataclass(frozen=True)
class Scenario:
    """A truth. An initial state's difficulty is normal; below a rollout's threshold it succeeds.

    So a rollout succeeds in exactly its rate of a task's episodes, whatever the correlations.
    """

    name: str
    says: str
    rates: tuple[Rates, ...]
    """True success rate of each of ``ROLLOUTS`` in each task, broken episodes aside."""
    inits: int = 50
    """Initial states of each task."""
    repeats: int = 1
    """Episodes from each of them."""
    shared: float = 0.8
    """Share of the difficulty's variance that an initial state has for all: pairs agree by it."""
    own: float = 0.0
    """Share that it has for one rollout, in all repeats: a cluster's differences agree by it."""
    seeds: int = 1
    """Training seeds."""
    training: float = 0.0
    """Share that one training of an arm has in all its episodes: how much trainings differ."""
    errors: float = 0.0
    """Share of the episodes that break."""
    resamples: int = 2_000
    """Of the bootstrap. A plan's 10,000 take three times as long, and matter where clusters make
    its interval the wider one: all experiments of a scenario share one bootstrap seed, as they
    share a plan, and with it the unsteadiness of its ends."""
    spending: Spending | None = None
    """How a sequential plan spends its error over five looks; None: of fixed size."""
    errors_hide: bool = False
    """Only successes of E0-none, E2-zero and E2-random break: the worst for the claims' truth."""

    @property
    def tasks(self) -> int:
        return len(self.rates[0])

    @property
    def pairs(self) -> int:
        return self.seeds * self.tasks * self.inits * self.repeats


def true_difference(scenario: Scenario, claim: Claim) -> float:
    """True success(left) - success(right), the mean over tasks."""
    left, right = (
        np.mean(scenario.rates[ROLLOUTS.index(name)]) for name in (claim.left, claim.right)
    )
    return round(float(left - right), 12)


def discordant_rate(scenario: Scenario, claim: Claim) -> float:
    """True share of the pairs that only one of the claim's rollouts solves, the mean over tasks."""
    left, right = (
        np.array(scenario.rates[ROLLOUTS.index(name)]) for name in (claim.left, claim.right)
    )
    normal = multivariate_normal(mean=[0, 0], cov=[[1, scenario.shared], [scenario.shared, 1]])
    both = normal.cdf(ndtri(np.stack([left, right], axis=1)))
    return float(np.mean(left + right - 2 * both))


def is_true(claim: Claim, difference: float) -> bool:
    """Whether the claim holds at that true difference; equivalence not at the margin itself."""
    if claim.kind == "equivalence":
        assert claim.margin is not None
        return abs(difference) < claim.margin - 1e-9
    return difference > 0


def simulated_plan(scenario: Scenario) -> Plan:
    """The core suite's plan, with its claims, alpha and margins, over the scenario's episodes."""
    suite = load_suite("core")
    mini = suite.scales["mini"]
    scale = dataclasses.replace(
        mini,
        environment=dataclasses.replace(mini.environment, tasks=tuple(range(scenario.tasks))),
        demonstrations=dataclasses.replace(mini.demonstrations, inits=(), held_out=()),
        rollout=dataclasses.replace(
            mini.rollout,
            inits=tuple(range(scenario.inits)),
            episodes=scenario.inits * scenario.repeats,
        ),
    )
    suite = dataclasses.replace(suite, seeds=tuple(range(scenario.seeds)), scales={"mini": scale})
    plan = make_plan(suite, "mini", load_machine("cpu"), Overrides(sequential=scenario.spending))
    return dataclasses.replace(
        plan, method=dataclasses.replace(plan.method, bootstrap_resamples=scenario.resamples)
    )


def draw(
    scenario: Scenario, generator: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """One experiment: (succeeds, breaks), each (rollouts, seeds, episodes) in table order."""
    states = (scenario.seeds, scenario.tasks, 1, scenario.inits)
    shape = (len(ROLLOUTS), scenario.seeds, scenario.tasks, scenario.repeats, scenario.inits)
    arms = [name.split("-")[0] for name in ROLLOUTS]
    training = generator.standard_normal((len(set(arms)), scenario.seeds, 1, 1, 1))
    rest = 1 - scenario.shared - scenario.own - scenario.training
    difficulty = (
        np.sqrt(scenario.shared) * generator.standard_normal((1, *states))
        + np.sqrt(scenario.own) * generator.standard_normal((len(ROLLOUTS), *states))
        + np.sqrt(scenario.training) * training[[sorted(set(arms)).index(arm) for arm in arms]]
        + np.sqrt(rest) * generator.standard_normal(shape)
    )
    succeeds = difficulty < ndtri(np.array(scenario.rates))[:, None, :, None, None]
    breaks: NDArray[np.bool_] = np.zeros(shape, dtype=np.bool_)
    if scenario.errors_hide:
        for i, name in enumerate(ROLLOUTS):
            if name in ("E0-none", "E2-zero", "E2-random"):
                chance = scenario.errors / np.mean(scenario.rates[i])
                breaks[i] = succeeds[i] & (generator.random(shape[1:]) < chance)
    elif scenario.errors:
        breaks = generator.random(shape) < scenario.errors
    flat = (len(ROLLOUTS), scenario.seeds, -1)
    return succeeds.reshape(flat), breaks.reshape(flat)


def _unequal(*shifts: float) -> Rates:
    """Base rates from 20 to 88 % over the tasks, shifted by `shifts` in turn."""
    base = np.linspace(0.20, 0.88, TASKS) + 0.05
    return tuple(round(float(rate) + shifts[t % len(shifts)], 6) for t, rate in enumerate(base))


def _rates(*gains: float) -> tuple[Rates, ...]:
    """Each rollout's rates: so much more than ``SAME`` in all tasks; no more for those left out."""
    padded = (*gains, *[0.0] * (len(ROLLOUTS) - len(gains)))
    return tuple((SAME + gain,) * TASKS for gain in padded)


def _clusters(name: str, says: str, rates: tuple[Rates, ...]) -> Scenario:
    """Twelve initial states a task, whose four repeats nearly agree."""
    return Scenario(name, says, rates, inits=12, repeats=4, shared=0.3, own=0.6, resamples=10_000)


def _few(name: str, says: str, *gains: float) -> Scenario:
    """As few pairs as core plays at scale mini: one task, 24 initial states."""
    return Scenario(name, says, tuple(rates[:1] for rates in _rates(*gains)), inits=24)


def _looked_at(name: str, spending: Spending) -> Scenario:
    found = next(scenario for scenario in SCENARIOS if scenario.name == name)
    return replace(found, name=f"{name}, {spending} looks", spending=spending)


_AT_THE_MARGIN = _rates(0, -0.05)
_NO_DIFFERENCE_BUT = "nothing differs but E1 at the margin;"

SCENARIOS = (
    Scenario("null", "no rollout differs from any other", _rates()),
    Scenario("margin", "E1 is worse than E0 by exactly the margin, 5 points", _AT_THE_MARGIN),
    Scenario("effect", "E2 with predicted memory gains 6 points on all others", _rates(0, 0, 0.06)),
    Scenario(
        "one of three",
        "E2 gains 15 points on E0, by other means than its memory: one claim is true, two are"
        " false",
        _rates(0, 0, 0.15, 0.15, 0.15),
    ),
    _clusters(
        "clusters",
        f"{_NO_DIFFERENCE_BUT} 4 repeats of an initial state nearly agree",
        _AT_THE_MARGIN,
    ),
    _clusters(
        "clusters, effect",
        "the same clusters; E2 with predicted memory gains 18 points",
        _rates(0, 0, 0.18),
    ),
    Scenario(
        "unequal tasks",
        "tasks from 25 to 93 %; gains and losses of 6 points cancel over them; E1 at the margin, by"
        " -9 and -1 points",
        (_unequal(0), _unequal(-0.09, -0.01), _unequal(0.06, -0.06), _unequal(0), _unequal(0)),
    ),
    Scenario(
        "three seeds",
        f"{_NO_DIFFERENCE_BUT} three trainings of each arm, all equally good",
        _AT_THE_MARGIN,
        inits=20,
        seeds=3,
    ),
    Scenario(
        "three seeds that differ",
        "the same, but one training is better than another by chance: standard deviation 3.5"
        " points",
        _AT_THE_MARGIN,
        inits=20,
        seeds=3,
        training=0.01,
    ),
    Scenario(
        "errors", f"{_NO_DIFFERENCE_BUT} 5 % of all episodes break", _AT_THE_MARGIN, errors=0.05
    ),
    Scenario(
        "errors that hide",
        "the same; the 5 % are successes of the rollouts that E1 and E2 are compared with",
        _AT_THE_MARGIN,
        errors=0.05,
        errors_hide=True,
    ),
    Scenario(
        "errors, effect",
        "E2 with predicted memory gains 20 points; 5 % of all episodes break",
        _rates(0, 0, 0.20),
        errors=0.05,
    ),
    _few("24 pairs", "nothing differs; one task, 24 initial states"),
    _few("24 pairs, effect", "the same; E2 with predicted memory gains 28 points", 0, 0, 0.28),
)
SEQUENTIAL = (
    _looked_at("null", "obrien-fleming"),
    _looked_at("null", "pocock"),
    _looked_at("margin", "obrien-fleming"),
    _looked_at("effect", "obrien-fleming"),
    _looked_at("effect", "pocock"),
    _looked_at("clusters", "pocock"),
    _looked_at("24 pairs", "pocock"),
)
"""Some of them in sequential plans."""
