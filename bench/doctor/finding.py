"""One line of ``wmbench doctor``."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    name: str
    found: str
    ok: bool = True
    """False: something that a run needs is missing."""
    fix: str = ""
    """What to do, if anything."""
    recommended: str = ""
    """What the vendors recommend, of a setting that changes speed and no result."""
    applicable: bool = True
    """False: the question does not arise here, and `found` says why."""

    @property
    def label(self) -> str:
        """``ok``, ``MISSING``, ``n/a``, or ``advice`` if all would work but could be better."""
        if not self.ok:
            return "MISSING"
        if not self.applicable:
            return "n/a"
        return "advice" if self.fix else "ok"
