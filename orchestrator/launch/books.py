"""What the broker keeps of every run and every lane."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.planning.run_plan import RunPlan

MAX_CHARGES: Final = 3
"""Deaths of its own lane after which a run is given up; also deaths of a lane that cannot even
begin, after which the search is."""

Ending = dict[str, Any]


@dataclass
class RunBook:
    """A run that was submitted, and how often it was tried."""

    plan: RunPlan
    ending: "asyncio.Future[Ending]"
    attempts: int = 0
    charges: int = 0
    started: float = 0.0


@dataclass
class LaneBook:
    """A lane, from its last joining on."""

    generation: str = ""
    current: str | None = None
    raised: dict[int, Ending] = field(default_factory=dict)
    """Rank to the ending that its exception would be, in the order in which they raised."""
    deaths: int = 0
    """Deaths before the lane had taken a run."""
    served: list[str] = field(default_factory=list)
    """Assignments of this generation, in order: every rank asks for the n-th itself, so that no
    rank waits inside a collective while there is nothing to do."""
