"""Who looks on while a search is trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.comparison.summary import SearchSummary
    from orchestrator.planning.search_plan import SearchPlan
    from orchestrator.tracking.history import SearchHistory
    from orchestrator.tracking.record import SearchRecord


class Watch:
    """Somebody who looks on while a search is trained; this one shows nothing."""

    def planned(self, plan: "SearchPlan", network: Sequence[tuple[str, str]]) -> None:
        """The plan is made, with what torch says of its network, and nothing is started."""

    def progressed(self, history: "SearchHistory") -> None:
        """Called after something has happened."""

    def lost(self, cause: str) -> None:
        """Ray has died under the search, which goes on with another."""

    def waiting(self, what: str) -> None:
        """Called now and then while nothing can begin: what is waited for, and how long."""

    def answered(self, record: "SearchRecord", summary: "SearchSummary") -> None:
        """Every run has ended; Ray may still be ending."""

    def ended(self, record: "SearchRecord", *, kept: bool, mlflow_error: str) -> None:
        """All is over: whether the records stay, and what kept MLflow from being written."""
