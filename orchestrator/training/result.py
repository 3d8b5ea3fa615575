"""What a training came to, and what can go once that is recorded."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a training ended, short of an exception."""

    status: Literal["finished", "stopped"]
    metrics: Mapping[str, float]
    """The values that count; empty where the run was stopped."""
    weights_sha256: str
    spent: tuple[Path, ...] = field(default=(), compare=False)
    """Checkpoints that are of no use any more once this is recorded."""

    def remove_spent(self) -> None:
        """Remove them, and their folder where it is empty."""
        for path in self.spent:
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()
