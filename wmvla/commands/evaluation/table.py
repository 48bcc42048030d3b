"""Which LIBERO settings our simulator has, and the episodes that an evaluation plays."""

from dataclasses import dataclass, fields

from lerobot.envs.configs import EnvConfig, LiberoEnv
from lerobot.envs.factory import make_env_pre_post_processors
from lerobot.processor import LiberoProcessorStep

from wmvla.commands.evaluation.flags import EvalConfig
from wmvla.errors import UserError
from wmvla.recipe import Environment, EpisodeRow
from wmvla.streams import generator

WITHOUT_EFFECT = ("max_parallel_tasks", "render_mode", "disable_env_checker")
"""Fields of LeRobot's LIBERO configuration that change no episode here."""
OURS = (
    *("task", "task_ids", "episode_length", "camera_name_mapping"),
    *("observation_height", "observation_width", *WITHOUT_EFFECT),
)
"""Those that may have any value here."""
LEROBOTS_POLICIES = ("lingbot_va",)
"""They write videos of what they predict, which only LeRobot's loop collects."""
LAST_STEP = 990
"""LIBERO's environments end after 1000 control steps, of which 10 pass before an observation."""


@dataclass(frozen=True)
class Suite:
    """A LIBERO suite as it is evaluated; ``inits``: how many initial states each task has."""

    environment: Environment
    inits: tuple[int, ...]


def lerobots_own(config: EvalConfig) -> str | None:
    """The setting that only LeRobot's own environment and loop have; None if ours plays it too."""
    env = config.env
    if env.type != "libero":
        return f"--env.type={env.type}"
    assert isinstance(env, LiberoEnv)
    assert config.policy is not None
    plain = LiberoEnv(**{name: getattr(env, name) for name in OURS})
    # The features last: they follow from the others.
    names = (field.name for field in fields(env))
    for name in sorted(names, key=lambda name: name.startswith("features")):
        if getattr(env, name) != getattr(plain, name):
            return f"--env.{name}={getattr(env, name)}"
    if env.observation_height != env.observation_width:
        return (
            f"--env.observation_height={env.observation_height} beside"
            f" --env.observation_width={env.observation_width}"
        )
    if config.eval.recording:
        return "--eval.recording=true"
    before, after = make_env_pre_post_processors(env, config.policy)
    own_steps = [type(step) for step in before.steps] != [LiberoProcessorStep] or after.steps
    if own_steps or config.policy.type in LEROBOTS_POLICIES:
        return f"--policy.type={config.policy.type}"
    return None


def suites_of(env: EnvConfig) -> list[Suite]:
    """The suites of ``--env.task`` in the order given, each with its chosen tasks. UserError: an
    unknown suite or task, an impossible number of steps."""
    from lerobot.envs.libero import TASK_SUITE_MAX_STEPS
    from libero.libero import benchmark

    from wmvla.sim.libero.env import load_suite

    assert isinstance(env, LiberoEnv)
    if env.episode_length is not None and not 1 <= env.episode_length <= LAST_STEP:
        raise UserError(
            f"--env.episode_length={env.episode_length}: LIBERO plays 1 to {LAST_STEP} control"
            " steps."
        )
    names = dict.fromkeys(name.strip() for name in str(env.task).split(",") if name.strip())
    known = sorted(name for name in benchmark.get_benchmark_dict() if name != "libero_100")
    suites = []
    for name in names or [""]:
        if name not in known:
            raise UserError(
                f"--env.task={env.task}: LIBERO has no suite {name!r}; it has {', '.join(known)}."
            )
        suite = load_suite(name)
        tasks = range(suite.n_tasks) if env.task_ids is None else sorted(set(env.task_ids))
        wrong = [task for task in tasks if not 0 <= task < suite.n_tasks]
        if wrong or not tasks:
            raise UserError(
                f"--env.task_ids={env.task_ids}: {name} has the tasks 0 to {suite.n_tasks - 1}."
            )
        steps = env.episode_length or TASK_SUITE_MAX_STEPS.get(name, 500)
        environment = Environment(name, tuple(tasks), env.observation_width, steps)
        inits = tuple(len(suite.get_task_init_states(task)) for task in tasks)
        suites.append(Suite(environment, inits))
    return suites


def episode_table(suites: list[Suite], n_episodes: int, seed: int | None) -> list[EpisodeRow]:
    """Every task's episodes k = 0, 1, ...: initial state k mod their number, env seed ``seed`` + k,
    as in LeRobot 0.6.1. ``index`` counts the tasks before the episodes: with more episodes later,
    those that there were keep theirs.

    UserError: no seed, or one that NumPy does not take.
    """
    if seed is None or not 0 <= seed < 2**32 - n_episodes:
        raise UserError(
            f"--seed={seed}: give a number from 0 to 2^32 - 1; every episode's own seeds are made "
            "from it."
        )
    tasks = [
        (suite.environment.suite, task, inits)
        for suite in suites
        for task, inits in zip(suite.environment.tasks, suite.inits, strict=True)
    ]
    return [
        EpisodeRow(
            index=episode * len(tasks) + place,
            suite=suite,
            task=task,
            init=episode % inits,
            env_seed=seed + episode,
            noise_seed=generator("evaluation", seed, suite, task, episode).initial_seed(),
            repeat=episode // inits,
        )
        for place, (suite, task, inits) in enumerate(tasks)
        for episode in range(n_episodes)
    ]
