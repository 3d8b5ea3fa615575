"""A summary as text: the table for a terminal, and the answer under it.

The table gives the mean's own interval beside the interval of the difference: seeds that are
good or bad for every value widen the first and cancel in the second, which alone decides.
"""

from orchestrator.comparison.outcome import SearchSummary, SettingSummary, mark_of
from orchestrator.comparison.scale import Scale, scale_of
from orchestrator.comparison.text import cut_middle, wrap_words

COLORS = {"better": "32", "worse": "31"}
GAP = "  "
_REUSED = "*"

_Columns = list[list[str]]
"""Cells by column, the head first in each."""


def describe_summary(summary: SearchSummary, width: int = 100, *, color: bool = False) -> str:
    """The table, the answer and what limits it, at most `width` columns where names allow."""
    lines = [describe_table(summary, width, color=color)]
    lines += ["", *wrap_words(summary.sentence, width)]
    for note in summary.notes:
        lines += wrap_words(note, width, first="- ", rest="  ")
    return "\n".join(lines)


def describe_table(summary: SearchSummary, width: int = 100, *, color: bool = False) -> str:
    """What was compared, the table, and how to read its differences."""
    lines = [*wrap_words(_word_heading(summary), width), ""]
    lines += _draw_table(summary, _fit_columns(summary, width), color=color)
    if any(row.difference_interval for row in summary.rows):
        lines += wrap_words(_word_method(summary), width, first=GAP, rest=GAP)
    if any(row.reused for row in summary.rows):
        lines += wrap_words(_word_reused(summary), width, first=GAP, rest=GAP)
    return "\n".join(lines)


def _word_heading(summary: SearchSummary) -> str:
    direction = "higher" if summary.maximize else "lower"
    seeds = f"{len(summary.seeds)} seed{'' if len(summary.seeds) == 1 else 's'}"
    return f"{summary.label}: {summary.metric}, {direction} is better, {seeds}"


def _word_method(summary: SearchSummary) -> str:
    count = len(summary.compared)
    if count == 1:
        return "differences are paired by seed"
    together = "both" if count == 2 else f"all {count}"
    return f"differences are paired by seed; their intervals hold for {together} at once"


def _word_reused(summary: SearchSummary) -> str:
    searches = dict.fromkeys(name for row in summary.rows for name in row.reused)
    return f"{_REUSED} with results that were not trained anew: of {', '.join(searches)}"


def _fit_columns(summary: SearchSummary, width: int) -> _Columns:
    """All columns; if too wide, without the means' own intervals, then with values cut."""
    columns = _lay_out(summary, mean_intervals=True)
    if _total(columns) > width and len(summary.rows) > 1:
        columns = _lay_out(summary, mean_intervals=False)
    names = max(1, len(summary.keys))
    while (excess := _total(columns) - width) > 0:
        widest = max(columns[:names], key=_width)
        room = max(len(widest[0]), 12, _width(widest) - excess)
        if room >= _width(widest):
            break
        widest[1:] = [cut_middle(cell, room) for cell in widest[1:]]
    return columns


def _lay_out(summary: SearchSummary, *, mean_intervals: bool) -> _Columns:
    scale, rows = scale_of(summary), summary.rows
    columns = [
        [label, *(row.values[i] for row in rows)] for i, label in enumerate(summary.key_labels)
    ] or [["setting", *(row.label for row in rows)]]
    columns.append(["seeds", *_mark_reused(rows)])
    means = [_word_mean(row, scale, interval=mean_intervals) for row in rows]
    percent = " %" if scale.is_share else ""
    head = f"mean{percent} (95 %)" if any(low for _, low, _ in means) else f"mean{percent}"
    columns.append([head, *_align(means)])
    if len(rows) > 1:
        differences = [_word_difference(row, scale) for row in rows]
        head = "difference (95 %)" if any(low for _, low, _ in differences) else "difference"
        if summary.compared:
            columns.append([head, *_align(differences)])
        columns.append(["", *(_word_verdict(row) for row in rows)])
    return columns


def _word_seeds(row: SettingSummary) -> str:
    done = len(row.scores)
    return str(done) if row.is_complete else f"{done} of {row.num_seeds}"


def _mark_reused(rows: tuple[SettingSummary, ...]) -> list[str]:
    """The numbers of seeds, with a sign at those of which some are another search's."""
    if not any(row.reused for row in rows):
        return [_word_seeds(row) for row in rows]
    return [f"{_word_seeds(row)}{_REUSED if row.reused else ' '}" for row in rows]


def _word_mean(row: SettingSummary, scale: Scale, *, interval: bool) -> tuple[str, str, str]:
    if row.mean is None:
        return "", "", ""
    if row.interval is None or not interval:
        return scale.word_score(row.mean), "", ""
    low, high = row.interval
    return scale.word_score(row.mean), scale.word_score(low), scale.word_score(high)


def _word_difference(row: SettingSummary, scale: Scale) -> tuple[str, str, str]:
    if row.difference is None:
        return "", "", ""
    difference = scale.word_difference(row.difference)
    if row.difference_interval is None:
        return difference, "", ""
    low, high = row.difference_interval
    return difference, scale.word_difference(low), scale.word_difference(high)


def _word_verdict(row: SettingSummary) -> str:
    if row.is_baseline:
        return "baseline"
    if row.difference_interval is None:
        return "no claim"
    return f"{'·' if row.verdict == 'open' else mark_of(row)} {row.verdict}"


def _align(cells: list[tuple[str, str, str]]) -> list[str]:
    """`+2.7 (+1.0 to +4.4)`, each of the three numbers under its like."""
    value_width, low_width, high_width = (
        max(map(len, part)) for part in zip(*cells, strict=True)
    )
    aligned = []
    for value, low, high in cells:
        reach = f" ({low:>{low_width}} to {high:>{high_width}})" if low else ""
        aligned.append(f"{value:>{value_width}}{reach}")
    return [text.ljust(max(map(len, aligned))) for text in aligned]


def _width(column: list[str]) -> int:
    return max(map(len, column))


def _total(columns: _Columns) -> int:
    return sum(len(GAP) + _width(column) for column in columns)


def _draw_table(summary: SearchSummary, columns: _Columns, *, color: bool) -> list[str]:
    names = max(1, len(summary.keys))
    has_verdict = len(summary.rows) > 1
    for i, column in enumerate(columns):
        width = _width(column)
        to_left = i < names or (has_verdict and i == len(columns) - 1)
        column[:] = [cell.ljust(width) if to_left else cell.rjust(width) for cell in column]
    drawn = [(GAP + GAP.join(cells)).rstrip() for cells in zip(*columns, strict=True)]
    lines = [drawn[0], GAP + "─" * (max(map(len, drawn)) - len(GAP))]
    for row, line in zip(summary.rows, drawn[1:], strict=True):
        code = COLORS.get(row.verdict or "")
        lines.append(f"\x1b[{code}m{line}\x1b[0m" if color and code else line)
    return lines
