"""What a search says, as frozen values: one row per setting, and the answer in words.

Tables, pictures and exports are all derived from these, so that they cannot disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.tracking.record import Setting

if TYPE_CHECKING:
    import pandas

Interval = tuple[float, float]
Verdict = Literal["better", "worse", "open"]


@dataclass(frozen=True, kw_only=True)
class SettingSummary:
    """One setting over its seeds. Scores are in the metric's own unit, accuracies in [0, 1]."""

    setting: Setting
    label: str
    """What differs between the settings, by the keys' last parts: `label_smoothing=0.1`."""
    values: tuple[str, ...]
    """The same values alone, one per key of `SearchSummary.keys`, as they are printed."""
    is_baseline: bool
    scores: Mapping[int, float]
    """Seed to score, in the order of the search's seeds; finished runs alone."""
    reused: tuple[str, ...]
    """Searches, `name#number`, that trained some of these for this one; in order, each once."""
    num_seeds: int
    """How many seeds were asked for."""
    unfinished: Mapping[str, int]
    """What became of the other seeds, to how many of them: `failed`, `stopped`, `waiting`, …"""
    mean: float | None
    """None where no run finished."""
    interval: Interval | None
    """95 % t interval of this mean alone; None below two seeds, or where they all agree."""
    sd: float | None
    """Spread over seeds; None below two seeds."""
    difference: float | None
    """Mean difference to the baseline, paired by seed; None for the baseline and where nothing
    is claimed."""
    difference_interval: Interval | None
    """95 % interval of the difference, simultaneous over all settings that are compared."""
    verdict: Verdict | None
    """None for the baseline and where nothing is claimed."""

    @property
    def is_complete(self) -> bool:
        """Whether every seed has a score; only then is anything claimed."""
        return len(self.scores) == self.num_seeds


@dataclass(frozen=True, kw_only=True)
class SearchSummary:
    """One search, compared."""

    label: str
    """`name#number`."""
    metric: str
    maximize: bool
    keys: tuple[str, ...]
    """The searched keys that differ between settings, in full, in the spec's order."""
    key_labels: tuple[str, ...]
    """The same by their last part, in full where two last parts are equal."""
    seeds: tuple[int, ...]
    rows: tuple[SettingSummary, ...]
    """In the order in which the spec gives the settings."""
    sd_of_difference: float | None
    """Spread over seeds of a paired difference, root mean square over the compared settings."""
    sentence: str
    notes: tuple[str, ...]
    """What limits the answer: missing seeds, one seed, an optimistic choice, a bent metric."""

    def to_rows(self) -> list[dict[str, Any]]:
        """A flat row per setting: each searched key in full, then every number, unrounded."""
        return [self._to_row(row) for row in self.rows]

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per setting, with the columns of `to_rows`, as in the CSV."""
        import pandas as pd

        return pd.DataFrame(self.to_rows())

    def _to_row(self, row: SettingSummary) -> dict[str, Any]:
        low, high = row.interval or (None, None)
        difference_low, difference_high = row.difference_interval or (None, None)
        return {
            **{key: row.setting.get(key) for key in self.keys},
            "is_baseline": row.is_baseline,
            "seeds_done": len(row.scores),
            "seeds": row.num_seeds,
            "mean": row.mean,
            "low": low,
            "high": high,
            "sd": row.sd,
            "difference": row.difference,
            "difference_low": difference_low,
            "difference_high": difference_high,
            "verdict": row.verdict,
        }

    @property
    def baseline(self) -> SettingSummary | None:
        """The row that the others are compared with; None where there is only one setting."""
        return next((row for row in self.rows if row.is_baseline), None)

    @property
    def compared(self) -> tuple[SettingSummary, ...]:
        """The rows that have a difference to the baseline."""
        return tuple(row for row in self.rows if row.difference is not None)

    @property
    def numbers(self) -> tuple[float, ...] | None:
        """The values of the one key that varies, if it is one and all are numbers."""
        values = [row.setting.get(key) for key in self.keys for row in self.rows]
        numbers = tuple(
            float(value)
            for value in values
            if isinstance(value, int | float) and not isinstance(value, bool)
        )
        return numbers if len(self.keys) == 1 and len(numbers) == len(values) else None

    def bar_of(self, row: SettingSummary) -> Interval | None:
        """The bar of a setting in a picture: its difference's interval, drawn around its mean.

        A bar that misses the baseline's line is then a difference, as in the table; an interval
        of the mean alone is wider wherever seeds are good or bad for every value alike. The
        only setting of a search gets its mean's interval; the baseline and settings without
        a claim get none.
        """
        if len(self.rows) == 1:
            return row.interval
        if row.mean is None or row.difference is None or row.difference_interval is None:
            return None
        low, high = row.difference_interval
        baseline_mean = row.mean - row.difference
        return low + baseline_mean, high + baseline_mean


def mark_of(row: SettingSummary) -> str:
    """The point of a setting: an arrow where it differs, pointing as its score does."""
    if not row.is_complete:
        return "○"
    if row.verdict in ("better", "worse") and row.difference is not None:
        return "▲" if row.difference > 0 else "▼"
    return "●"
