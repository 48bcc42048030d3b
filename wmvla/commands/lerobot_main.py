"""LeRobot's own mains behind our command lines: the same flags, every mistake in one line."""

import contextlib
import io
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import draccus
import yaml
from draccus.utils import ParsingError
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from lerobot.configs import PreTrainedConfig, parser
from lerobot.utils.import_utils import register_third_party_plugins

from wmvla.checkout import require_own_code
from wmvla.errors import UserError, answer, chain, modules_of
from wmvla.files import temporary_files_removed
from wmvla.policy import configuration_smolvla_world  # noqa: F401  registers the policy type where no plugin is installed

CHECKS = (
    "lerobot.configs.",
    "lerobot.envs.",
    "lerobot.policies.factory",
    "lerobot.policies.utils",
    "lerobot.common.train_utils",
)
"""LeRobot's modules that look at what the user asked for; what they raise is the user's mistake."""


def run(action: Callable[[list[str]], None], arguments: Sequence[str] | None) -> int:
    """Give ``arguments`` (default: the command line's) to ``action``; 0, or 2 after one line on
    stderr. ``sys.argv``, where LeRobot looks for flags, is afterwards what it was.
    """
    command_line = sys.argv
    # At every start, of a decoder that is not used here.
    logging.getLogger("lerobot.utils.import_utils").setLevel(logging.ERROR)
    register_third_party_plugins()

    def act() -> int:
        require_own_code(command_line[0])
        with lerobots_checks_are_user_errors(), lerobots_temporary_files_removed():
            action(joined(command_line[1:] if arguments is None else arguments))
        return 0

    try:
        return answer(act)
    finally:
        sys.argv = command_line


def joined(arguments: Sequence[str]) -> list[str]:
    """``--flag value`` as ``--flag=value``."""
    words: list[str] = []
    for word in arguments:
        bare = bool(words) and words[-1].startswith("--") and "=" not in words[-1]
        if bare and not word.startswith("--"):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """The value of ``--<flag>=value`` among joined arguments; the last one counts."""
    values = [word.partition("=")[2] for word in arguments if word.startswith(f"--{flag}=")]
    return values[-1] if values else None


def without(flag: str, arguments: Sequence[str]) -> list[str]:
    """Joined arguments except ``--<flag>``."""
    return [word for word in arguments if word.partition("=")[0] != f"--{flag}"]


def parse[T](config: type[T], arguments: Sequence[str], program: str) -> T:
    """The configuration that LeRobot makes of ``arguments``, which become ``sys.argv``: LeRobot
    reads that again when it looks for ``--policy.path``.

    UserError: an unknown flag, a value of another type or that the configuration refuses.
    SystemExit: after ``--help`` was printed.
    """
    sys.argv = [program, *arguments]

    def made(cfg: config) -> config:  # type: ignore[valid-type]
        return cfg

    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), temporary_files_removed():
            parsed = parser.wrap()(made)()
        policy = getattr(parsed, "policy", None)
        if policy is not None:
            _require_actions(policy)
        return parsed
    except SystemExit as ended:
        if not ended.code:
            raise
        message = _policy_mistake(arguments) or printed.getvalue()
    except yaml.YAMLError:
        why = "the value cannot be read; is a bracket or a quotation mark missing?"
        message = f"{_unreadable(arguments)}: {why}"
    except (ParsingError, OSError, ValueError) as error:
        message = _reason(error)
    raise UserError(_as_flags(message.rpartition("error: ")[2], arguments))


def parse_policy[T: PreTrainedConfig](
    config: type[T], arguments: Sequence[str], checkpoint: str | None = None
) -> T:
    """The policy's configuration from the ``--policy.*`` flags among ``arguments``, then from
    ``checkpoint``. UserError: an unknown field, a value of another type or that is refused."""
    flags = parser.get_cli_overrides("policy", arguments)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            if checkpoint is None:
                policy = draccus.parse(config, args=flags)
            else:
                policy = config.from_pretrained(checkpoint, cli_overrides=flags)
        _require_actions(policy)
        return policy
    except SystemExit:
        message = printed.getvalue()
    except (ParsingError, OSError, ValueError) as error:
        message = _reason(error)
    raise UserError(_as_flags(message.rpartition("error: ")[2], arguments))


def require_at_least_one(counts: dict[str, int]) -> None:
    """UserError for the first of the flags' values that is below 1."""
    for flag, count in counts.items():
        if count < 1:
            raise UserError(f"--{flag}={count}: it must be at least 1.")


def _require_actions(policy: PreTrainedConfig) -> None:
    """UserError for a policy that plays no action: it would be asked for ever."""
    for name in ("chunk_size", "n_action_steps"):
        count = getattr(policy, name, None)
        if isinstance(count, int) and count < 1:
            raise UserError(
                f"policy.{name} = {count} must be at least 1: correct it in the checkpoint's"
                f" config.json, or give --policy.{name}."
            )


@contextlib.contextmanager
def lerobots_temporary_files_removed() -> Iterator[None]:
    """LeRobot leaves a temporary file wherever it gives a checkpoint's configuration to draccus."""
    lerobots = PreTrainedConfig.__dict__["from_pretrained"].__func__

    def from_pretrained(cls: type[PreTrainedConfig], *args: Any, **kwargs: Any) -> PreTrainedConfig:
        with temporary_files_removed():
            return lerobots(cls, *args, **kwargs)

    with mock.patch.object(PreTrainedConfig, "from_pretrained", classmethod(from_pretrained)):
        yield


@contextlib.contextmanager
def lerobots_checks_are_user_errors() -> Iterator[None]:
    """What LeRobot's checks of the user's wishes raise, and the hub answers, in one sentence."""
    try:
        yield
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"The hub does not give what was asked for: {reason}") from error
    except ImportError as error:
        if not any(name.startswith("lerobot.envs.") for name in modules_of(error)):
            raise
        kind = value_of("env.type", sys.argv)
        raise UserError(
            f"--env.type={kind} is not installed here ({error}): install what it needs, or give"
            " --env.type=libero, which is."
        ) from error
    except (ParsingError, ValueError, OSError, NotImplementedError) as error:
        modules = modules_of(error)
        checked = isinstance(error, ParsingError) or (modules and modules[-1].startswith(CHECKS))
        if isinstance(error, UserError) or not checked:
            raise
        raise UserError(_as_flags(_reason(error), sys.argv)) from error


def _unreadable(arguments: Sequence[str]) -> str:
    """The first of joined arguments whose value is no YAML, which is how draccus reads values."""
    for word in arguments:
        try:
            yaml.safe_load(word.partition("=")[2])
        except yaml.YAMLError:
            return word
    return " ".join(arguments)


def _policy_mistake(arguments: Sequence[str]) -> str | None:
    """What is wrong with the policy's flags, read on their own: draccus drops the reason if a field
    may also be None, as LeRobot's ``policy``.
    """
    kind = value_of("policy.type", arguments)
    if kind not in PreTrainedConfig.get_known_choices():
        return None
    try:
        parse_policy(PreTrainedConfig.get_choice_class(kind), arguments)
    except UserError as error:
        return str(error)
    return None


def _reason(error: BaseException) -> str:
    """What a check of LeRobot's says: the outermost sentence that names the flag, and our own words
    for it where there are some."""
    links = chain(error)
    for link in links:
        if isinstance(link, UserError):
            return str(link)
    named = [link for link in links if not isinstance(link, KeyError)] or links
    vague = "Couldn't instantiate class"
    return str(next((link for link in named if vague not in str(link)), named[0]))


def _as_flags(message: str, arguments: Sequence[Any]) -> str:
    """``message`` with the flags named as the user wrote them, with ``--policy.``."""
    for word in arguments:
        flag = str(word).partition("=")[0]
        if flag.startswith("--policy."):
            bare = flag.removeprefix("--policy.")
            for short in (f"`{bare}`", f"arguments: --{bare}", f"argument --{bare}"):
                named = short.replace(f"--{bare}", flag).replace(f"`{bare}`", flag)
                message = message.replace(short, named)
    return " ".join(message.split())
