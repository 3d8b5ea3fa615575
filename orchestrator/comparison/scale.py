"""How numbers of a metric are printed: accuracies in percent and points, the rest as they are.

The digits follow the intervals: as many as the interval can carry, the same in a whole table.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, isfinite, log10

from orchestrator.comparison.outcome import Interval, SearchSummary, SettingSummary

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Turns scores into text."""

    is_share: bool
    """Whether scores lie in [0, 1] and are printed in percent."""
    decimals: int

    @property
    def factor(self) -> float:
        """What a score is multiplied by before it is printed."""
        return 100.0 if self.is_share else 1.0

    def word_score(self, score: float) -> str:
        """`95.6`; the unit stands in the head of the table."""
        text = f"{self.factor * score:.{self.decimals}f}"
        if text.startswith("-"):
            text = text[1:] if not text.strip("-0.") else MINUS + text[1:]
        return text

    def word_difference(self, difference: float) -> str:
        """`+2.2`, the sign always written, except before a plain zero."""
        text = self.word_score(difference)
        return text if text.startswith(MINUS) or not text.strip("0.") else f"+{text}"

    def word_amount(self, amount: float) -> str:
        """`2.2 points`, or `0.12` where the metric is no share."""
        return f"{self.word_score(amount)} points" if self.is_share else self.word_score(amount)

    def word_round_amount(self, amount: float) -> str:
        """The same for a number that is round by itself: `0.5 points`, `0.02`."""
        text = f"{self.factor * amount:.6g}"
        return f"{text} {'point' if text == '1' else 'points'}" if self.is_share else text

    def word_interval(self, interval: Interval) -> str:
        """`1.1 to 3.3`."""
        return f"{self.word_score(interval[0])} to {self.word_score(interval[1])}"


def is_share(metric: str) -> bool:
    """Whether a metric lies in [0, 1] and is read in percent, by its name."""
    return metric.rsplit("/", 1)[-1].endswith(("accuracy", "recall", "f1"))


def choose_scale(metric: str, rows: Iterable[SettingSummary]) -> Scale:
    """Digits for all numbers of a search, from the intervals that its rows carry.

    One more digit is taken where the end of an interval nearest to zero would be printed as
    zero although the interval leaves zero out: a difference must not look open.
    """
    rows = tuple(rows)
    share = is_share(metric)
    factor = 100.0 if share else 1.0
    halves = _half_widths(rows)
    # The middle one: a single odd setting must not decide for all.
    typical = factor * sorted(halves)[len(halves) // 2] if halves else 0.0
    decimals = _decimals(typical, share=share)
    for row in rows:
        if row.difference_interval is not None and row.verdict in ("better", "worse"):
            nearest = min(abs(factor * end) for end in row.difference_interval)
            while decimals < 6 and round(nearest, decimals) == 0:
                decimals += 1
    return Scale(is_share=share, decimals=decimals)


def scale_of(summary: SearchSummary) -> Scale:
    """The scale of a finished summary, the same in every table and picture of it."""
    return choose_scale(summary.metric, summary.rows)


def _half_widths(rows: tuple[SettingSummary, ...]) -> list[float]:
    intervals = [row.difference_interval for row in rows if row.difference_interval]
    intervals = intervals or [row.interval for row in rows if row.interval]
    return [
        half for low, high in intervals if (half := (high - low) / 2) > 0 and isfinite(half)
    ]


def _decimals(half_width: float, *, share: bool) -> int:
    """Percent to one digit of the interval, at least one decimal; the rest to two digits."""
    if half_width <= 0:
        return 1 if share else 3
    leading = -floor(log10(half_width))
    return min(6, max(1, leading) if share else max(0, leading + 1))
