"""Types that say which values can be: what documents and settings are read into (msgspec)."""

from typing import Annotated

from msgspec import Meta

Natural = Annotated[int, Meta(ge=0)]
"""0, 1, 2, ..."""
Positive = Annotated[int, Meta(ge=1)]
"""1, 2, 3, ..."""
Number = Annotated[float, Meta(ge=0)]
"""A number that is not negative."""
AboveZero = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
"""From nothing to all."""
type Several[T] = Annotated[tuple[T, ...], Meta(min_length=1)]
"""At least one."""
Between = Annotated[float, Meta(gt=0, lt=1)]
"""A part, neither nothing nor all."""
Name = Annotated[str, Meta(min_length=1)]
"""A text that is not empty."""
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
