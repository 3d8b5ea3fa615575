"""The response curve for a terminal: one column per value, or one line per setting.

A bar is the simultaneous interval of the difference to the baseline, drawn around the setting's
mean: a bar that misses the baseline's line is a difference, as in the table. An interval of the
mean alone would be wider wherever seeds are good or bad for every value alike.
"""

from dataclasses import dataclass

from orchestrator.comparison.outcome import Interval, SearchSummary, SettingSummary
from orchestrator.comparison.scale import Scale, scale_of

HEIGHT = 12
POINTS = {"better": "▲", "worse": "▼", "open": "●", None: "●"}


def drawn_interval(row: SettingSummary) -> Interval | None:
    """The bar of a setting in score units: its difference's interval around its mean.

    Of a single setting, which has nothing to differ from, the mean's own; None for the baseline
    and where nothing is claimed.
    """
    if row.mean is not None and row.difference is not None and row.difference_interval:
        offset = row.mean - row.difference
        return row.difference_interval[0] + offset, row.difference_interval[1] + offset
    return None


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """Scores to cells, `cells` of them between the smallest and the largest thing drawn."""

    low: float
    high: float
    cells: int

    def cell(self, score: float) -> int:
        span = self.high - self.low
        share = 0.5 if span <= 0 else (score - self.low) / span
        return round(share * (self.cells - 1))

    def score(self, cell: int) -> float:
        return self.low + (self.high - self.low) * cell / (self.cells - 1)


def describe_curve(summary: SearchSummary, width: int = 80) -> str:
    """The curve as lines of text: values from left to right where one key varies and they fit.

    Empty where no run has finished.
    """
    drawn = [row for row in summary.rows if row.mean is not None]
    if not drawn:
        return ""
    scale = scale_of(summary)
    if len(summary.keys) == 1 and len(summary.rows) > 1:
        axis = _fit_axis(drawn, HEIGHT)
        margin = max(len(scale.word_score(axis.score(i))) for i in range(HEIGHT)) + 2
        column = max(len(row.values[0]) for row in summary.rows) + 3
        if margin + column * len(summary.rows) <= width:
            room = (width - margin) // len(summary.rows)
            return _draw_upright(summary, scale, axis, margin, min(max(column, 7), room))
    return _draw_lying(summary, drawn, scale, width)


def _fit_axis(rows: list[SettingSummary], cells: int) -> _Axis:
    ends = [end for row in rows for end in (row.mean, *_bar(row)) if end is not None]
    return _Axis(low=min(ends), high=max(ends), cells=cells)


def _bar(row: SettingSummary) -> Interval | tuple[()]:
    return drawn_interval(row) or ()


def _draw_upright(
    summary: SearchSummary, scale: Scale, axis: _Axis, margin: int, column: int
) -> str:
    baseline = summary.baseline
    line = axis.cell(baseline.mean) if baseline and baseline.mean is not None else None
    stacks = [_draw_stack(row, axis) for row in summary.rows]
    unit = f"{summary.metric}, %" if scale.is_share else summary.metric
    lines = [f"{'':{margin}}{unit}"]
    for cell in reversed(range(axis.cells)):
        fill = "┄" if cell == line else " "
        label = scale.word_score(axis.score(cell)) if _is_labelled(cell, axis, line) else ""
        cells = "".join((stack.get(cell) or fill).center(column, fill) for stack in stacks)
        lines.append(f"{label:>{margin - 2}} {'┤' if label else '│'}{cells.rstrip()}")
    values = "".join(row.values[0].center(column) for row in summary.rows)
    lines.append(f"{'':{margin - 1}}└{'─' * column * len(stacks)}")
    lines.append(f"{'':{margin}}{values.rstrip()}")
    name = summary.key_labels[0].center(column * len(stacks)).rstrip()
    lines.append(f"{'':{margin}}{name}")
    return "\n".join(lines)


def _is_labelled(cell: int, axis: _Axis, line: int | None) -> bool:
    """Both ends, and the baseline where it does not touch them."""
    return cell in {0, axis.cells - 1, line}


def _draw_stack(row: SettingSummary, axis: _Axis) -> dict[int, str]:
    """Cell to character for one setting."""
    if row.mean is None:
        return {}
    stack: dict[int, str] = {}
    interval = drawn_interval(row)
    if interval is not None:
        low, high = axis.cell(interval[0]), axis.cell(interval[1])
        stack = dict.fromkeys(range(low, high + 1), "│") | {low: "┴", high: "┬"}
    stack[axis.cell(row.mean)] = POINTS[row.verdict] if row.is_complete else "○"
    return stack


def _draw_lying(
    summary: SearchSummary, drawn: list[SettingSummary], scale: Scale, width: int
) -> str:
    names = [row.label for row in summary.rows]
    margin = min(max(map(len, names)), max(12, width // 2)) + 2
    axis = _fit_axis(drawn, max(10, width - margin - 1))
    baseline = summary.baseline
    line = axis.cell(baseline.mean) if baseline and baseline.mean is not None else None
    lines = []
    for row, name in zip(summary.rows, names, strict=True):
        cells = [" "] * axis.cells
        if line is not None:
            cells[line] = "┊"
        interval = drawn_interval(row)
        if interval is not None:
            low, high = axis.cell(interval[0]), axis.cell(interval[1])
            cells[low : high + 1] = ["├", *"─" * (high - low - 1), "┤"][: high - low + 1]
        if row.mean is not None:
            cells[axis.cell(row.mean)] = POINTS[row.verdict] if row.is_complete else "○"
        shown = name if len(name) <= margin - 2 else name[: margin - 3] + "…"
        lines.append(f"{shown:<{margin}}{''.join(cells)}".rstrip())
    left, right = scale.word_score(axis.low), scale.word_score(axis.high)
    lines.append(f"{'':{margin}}{left}{right:>{axis.cells - len(left)}}")
    return "\n".join(lines)
