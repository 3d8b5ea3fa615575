"""The response curve for a terminal: one column per value, or one line per setting.

What a bar means is said at `SearchSummary.bar_of`. A terminal has few cells, so the bar of a
setting that differs is kept off the baseline's line even where both round to the same cell.
"""

from dataclasses import dataclass, replace

from orchestrator.comparison.outcome import SearchSummary, SettingSummary, mark_of
from orchestrator.comparison.scale import Scale, scale_of
from orchestrator.comparison.text import cut_middle

HEIGHT = 12


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """Scores to cells, `cells` of them from the smallest to the largest thing drawn."""

    low: float
    high: float
    cells: int
    baseline: float | None
    """The baseline's mean; None where there is none."""

    @property
    def line(self) -> int | None:
        return None if self.baseline is None else self.cell(self.baseline)

    def cell(self, score: float) -> int:
        span = self.high - self.low
        share = 0.5 if span <= 0 else (score - self.low) / span
        return round(share * (self.cells - 1))


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """Cells of one setting: its point, and its bar's ends where it has one."""

    point: int
    bar: tuple[int, int] | None
    mark: str


def describe_curve(summary: SearchSummary, width: int = 80) -> str:
    """The curve as lines of text: values from left to right where one key varies and they fit.

    Numbers are put in order, evenly spaced; other values stay in the spec's order. Empty where
    no run has finished.
    """
    if all(row.mean is None for row in summary.rows):
        return ""
    if (numbers := summary.numbers) is not None:
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        summary = replace(summary, rows=tuple(summary.rows[i] for i in order))
    scale = scale_of(summary)
    if len(summary.keys) == 1 and len(summary.rows) > 1:
        axis = _fit_axis(summary, HEIGHT)
        ends = (axis.low, axis.high)
        margin = max(len(scale.word_score(end)) for end in ends) + 2
        column = max(7, *(len(row.values[0]) + 2 for row in summary.rows))
        if margin + column * len(summary.rows) <= width:
            return _draw_upright(summary, scale, axis, margin=margin, column=column)
    return _draw_lying(summary, scale, width)


def _fit_axis(summary: SearchSummary, cells: int) -> _Axis:
    ends = [
        end
        for row in summary.rows
        for end in (row.mean, *(summary.bar_of(row) or ()))
        if end is not None
    ]
    baseline = summary.baseline
    return _Axis(
        low=min(ends),
        high=max(ends),
        cells=cells,
        baseline=None if baseline is None else baseline.mean,
    )


def _place(summary: SearchSummary, row: SettingSummary, axis: _Axis) -> _Drawn | None:
    if row.mean is None:
        return None
    point, mark = axis.cell(row.mean), mark_of(row)
    interval = summary.bar_of(row)
    if interval is None:
        return _Drawn(point=point, bar=None, mark=mark)
    low, high = axis.cell(interval[0]), axis.cell(interval[1])
    if axis.baseline is not None and row.verdict in ("better", "worse"):
        low, high = _keep_off(axis, low, high, is_above=interval[0] > axis.baseline)
    return _Drawn(point=min(max(point, low), high), bar=(low, high), mark=mark)


def _keep_off(axis: _Axis, low: int, high: int, *, is_above: bool) -> tuple[int, int]:
    """Move the near end of a bar one cell off the baseline's line, where there is a cell."""
    assert axis.line is not None
    if is_above:
        low = max(low, min(axis.line + 1, axis.cells - 1))
    else:
        high = min(high, max(axis.line - 1, 0))
    return (low, max(low, high)) if is_above else (min(low, high), high)


def _draw_upright(
    summary: SearchSummary, scale: Scale, axis: _Axis, *, margin: int, column: int
) -> str:
    drawn = [_place(summary, row, axis) for row in summary.rows]
    labels = {0: axis.low, axis.cells - 1: axis.high}
    if axis.line is not None and axis.baseline is not None:
        labels[axis.line] = axis.baseline
    lines = [f"{'':{margin}}{summary.metric}{', %' if scale.is_share else ''}"]
    for cell in reversed(range(axis.cells)):
        fill = "┄" if cell == axis.line else " "
        label = scale.word_score(labels[cell]) if cell in labels else ""
        stacks = "".join(_upright_cell(one, cell, fill).center(column, fill) for one in drawn)
        lines.append(f"{label:>{margin - 2}} {'┤' if label else '│'}{stacks}")
    extent = column * len(drawn)
    lines.append(f"{'':{margin - 1}}└{'─' * extent}")
    values = "".join(row.values[0].center(column) for row in summary.rows)
    lines.append(f"{'':{margin}}{values}")
    lines.append(f"{'':{margin}}{summary.key_labels[0].center(extent)}")
    return "\n".join(line.rstrip() for line in lines)


def _upright_cell(drawn: _Drawn | None, cell: int, fill: str) -> str:
    if drawn is None:
        return fill
    if cell == drawn.point:
        return drawn.mark
    if drawn.bar is None or not drawn.bar[0] <= cell <= drawn.bar[1]:
        return fill
    return "┴" if cell == drawn.bar[0] else "┬" if cell == drawn.bar[1] else "│"


def _draw_lying(summary: SearchSummary, scale: Scale, width: int) -> str:
    room = max(12, width // 2)
    key, labels = name_rows(summary)
    names = [cut_middle(label, room) for label in labels]
    margin = max(map(len, [key, *names])) + 2
    axis = _fit_axis(summary, max(12, width - margin - 2))
    lines = [key] if key else []
    for row, name in zip(summary.rows, names, strict=True):
        cells = [" "] * axis.cells
        if axis.line is not None:
            cells[axis.line] = "┊"
        drawn = _place(summary, row, axis)
        if drawn is not None:
            if drawn.bar is not None:
                low, high = drawn.bar
                cells[low : high + 1] = "─" * (high - low + 1)
                cells[low], cells[high] = "├", "┤"
            cells[drawn.point] = drawn.mark
        lines.append(f"{name:<{margin}}{''.join(cells)}")
    left, right = scale.word_score(axis.low), scale.word_score(axis.high)
    unit = f"{summary.metric}{', %' if scale.is_share else ''}"
    if axis.high > axis.low:
        lines.append(f"{'':{margin}}{left}{right:>{axis.cells - len(left)}}")
    lines.append(f"{'':{margin}}{unit.center(axis.cells)}")
    return "\n".join(line.rstrip() for line in lines)


def name_rows(summary: SearchSummary) -> tuple[str, list[str]]:
    """The key where a single one varies, else nothing, and what to call each setting."""
    if len(summary.keys) == 1:
        return summary.key_labels[0], [row.values[0] for row in summary.rows]
    return "", [row.label for row in summary.rows]
