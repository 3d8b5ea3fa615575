"""A summary as text: the table for a terminal, rows for a spreadsheet, values for a program.

The table gives the mean's own interval beside the interval of the difference: seeds that are
good or bad for every value widen the first and cancel in the second, which alone decides.
"""

import csv
import io
from textwrap import wrap
from typing import Any

from orchestrator.comparison.curve import describe_curve
from orchestrator.comparison.outcome import SearchSummary, SettingSummary
from orchestrator.comparison.scale import Scale, scale_of

__all__ = ["describe_curve", "describe_summary", "summary_to_csv", "summary_to_json"]

MARKS = {"better": "▲ better", "worse": "▼ worse", "open": "· open", None: ""}
COLORS = {"better": "32", "worse": "31"}
GAP = "  "


def describe_summary(summary: SearchSummary, width: int = 100, *, color: bool = False) -> str:
    """The table, the answer and what limits it, at most `width` columns where names allow."""
    scale = scale_of(summary)
    head, body, droppable = _lay_out(summary, scale)
    # Widest comfort first: the mean's own interval goes, then values are cut in their middle.
    if _total(head, body) > width and droppable is not None:
        head = head[:droppable] + head[droppable + 1 :]
        body = [cells[:droppable] + cells[droppable + 1 :] for cells in body]
    names = max(1, len(summary.keys))
    while (excess := _total(head, body) - width) > 0 and _shorten(head, body, names, excess):
        pass
    lines = [_word_heading(summary), "", *_draw_table(summary, head, body, names, color=color)]
    lines += ["", *wrap(_sentence(summary), width, subsequent_indent="  ")]
    for note in summary.notes:
        lines += wrap(note, width, initial_indent="- ", subsequent_indent="  ")
    return "\n".join(lines)


def _word_heading(summary: SearchSummary) -> str:
    direction = "higher" if summary.maximize else "lower"
    seeds = f"{len(summary.seeds)} seed{'' if len(summary.seeds) == 1 else 's'}"
    return f"{summary.label}   {summary.metric} ({direction} is better), {seeds}"


def _sentence(summary: SearchSummary) -> str:
    return summary.sentence[:1].upper() + summary.sentence[1:] + "."


def _lay_out(
    summary: SearchSummary, scale: Scale
) -> tuple[list[str], list[list[str]], int | None]:
    """Head, cells per row, and the column that may go first."""
    unit = " %" if scale.is_share else ""
    head = [*(summary.key_labels or ("",)), "seeds", f"mean{unit}", "95 % interval"]
    droppable = len(head) - 1
    compares = len(summary.rows) > 1
    if compares:
        points = ", points" if scale.is_share else ""
        head += [f"difference{points}", "95 %, all at once", ""]
    body = []
    for row in summary.rows:
        names = list(row.values) or [row.label]
        done = len(row.scores)
        seeds = str(done) if row.is_complete else f"{done} of {row.num_seeds}"
        cells = [*names, seeds, _mean(row, scale), _interval(row, scale)]
        if compares:
            cells += [*_difference_cells(row, scale)]
        body.append(cells)
    return head, body, droppable if compares else None


def _mean(row: SettingSummary, scale: Scale) -> str:
    return "" if row.mean is None else scale.word_score(row.mean)


def _interval(row: SettingSummary, scale: Scale) -> str:
    return "" if row.interval is None else scale.word_interval(row.interval)


def _difference_cells(row: SettingSummary, scale: Scale) -> tuple[str, str, str]:
    if row.is_baseline:
        return "", "", "baseline"
    if row.difference is None:
        return "", "", "no claim"
    difference = scale.word_difference(row.difference)
    if row.difference_interval is None:
        return difference, "", "no claim"
    interval = scale.word_difference_interval(row.difference_interval)
    return difference, interval, MARKS[row.verdict]


def _widths(head: list[str], body: list[list[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(head, *body, strict=True)]


def _total(head: list[str], body: list[list[str]]) -> int:
    widths = _widths(head, body)
    return len(GAP) + sum(widths) + len(GAP) * (len(widths) - 1)


def _shorten(head: list[str], body: list[list[str]], names: int, excess: int) -> bool:
    """Cut the widest column of values by at most `excess`; False where no more can be cut."""
    widths = _widths(head, body)[:names]
    column = max(range(names), key=lambda i: widths[i])
    room = max(len(head[column]), 12, widths[column] - excess)
    if room >= widths[column]:
        return False
    for cells in body:
        cells[column] = _cut(cells[column], room)
    return True


def _cut(text: str, room: int) -> str:
    """`my_package.mod…attention`: both ends tell more than either."""
    if len(text) <= room:
        return text
    front = (room - 1) // 2
    return f"{text[:front]}…{text[len(text) - (room - 1 - front) :]}"


def _draw_table(
    summary: SearchSummary,
    head: list[str],
    body: list[list[str]],
    names: int,
    *,
    color: bool,
) -> list[str]:
    widths = _widths(head, body)
    lines = [_draw_row(head, widths, names), GAP + "─" * (_total(head, body) - len(GAP))]
    for row, cells in zip(summary.rows, body, strict=True):
        line = _draw_row(cells, widths, names)
        code = COLORS.get(row.verdict or "")
        lines.append(f"\x1b[{code}m{line}\x1b[0m" if color and code else line)
    return lines


def _draw_row(cells: list[str], widths: list[int], names: int) -> str:
    """Values and the mark to the left, numbers to the right."""
    last = len(cells) - 1
    drawn = [
        cell.ljust(width) if i < names or (i == last and i > names + 2) else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return (GAP + GAP.join(drawn)).rstrip()


def summary_to_csv(summary: SearchSummary) -> str:
    """One line per setting, raw numbers, one column per searched key, empty where none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    numbers = ("mean", "low", "high", "sd", "difference", "difference_low", "difference_high")
    writer.writerow([*summary.keys, "baseline", "seeds_done", "seeds", *numbers, "verdict"])
    for row in summary.rows:
        low, high = row.interval or (None, None)
        difference_low, difference_high = row.difference_interval or (None, None)
        writer.writerow(
            [
                *(row.setting.get(key) for key in summary.keys),
                str(row.is_baseline).lower(),
                len(row.scores),
                row.num_seeds,
                row.mean,
                low,
                high,
                row.sd,
                row.difference,
                difference_low,
                difference_high,
                row.verdict,
            ]
        )
    return text.getvalue()


def summary_to_json(summary: SearchSummary) -> dict[str, Any]:
    """Plain JSON: every number of the summary, raw, and the answer in words."""
    return {
        "search": summary.label,
        "metric": summary.metric,
        "maximize": summary.maximize,
        "keys": list(summary.keys),
        "seeds": list(summary.seeds),
        "answer": summary.sentence,
        "notes": list(summary.notes),
        "settings": [
            {
                "setting": dict(row.setting),
                "label": row.label,
                "baseline": row.is_baseline,
                "scores": {str(seed): score for seed, score in row.scores.items()},
                "unfinished": dict(row.unfinished),
                "mean": row.mean,
                "interval": None if row.interval is None else list(row.interval),
                "sd": row.sd,
                "difference": row.difference,
                "difference_interval": (
                    None if row.difference_interval is None else list(row.difference_interval)
                ),
                "verdict": row.verdict,
            }
            for row in summary.rows
        ],
    }
