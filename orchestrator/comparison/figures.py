"""The response curve as a picture: means with bars, seeds as dots, the baseline as a line.

Colours are from Okabe and Ito's palette, told apart by colour-blind readers, and shapes repeat
what colours say. What a bar means is said at `SearchSummary.bar_of`, and in the picture.
"""

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from orchestrator.comparison.curve import cut_middle
from orchestrator.comparison.outcome import SearchSummary, SettingSummary
from orchestrator.comparison.scale import scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, VERMILION, BLACK, GREY = "#0072B2", "#D55E00", "#222222", "#8A8A8A"
SIZE_INCHES = (8.0, 5.0)
DOTS_PER_INCH = 150
LONGEST_NAME = 34
MOST_UPRIGHT = 14

_Point = tuple[float, float]


def draw_response_curve(summary: SearchSummary, path: Path) -> None:
    """Write the curve as a PNG of about 1200 x 750 pixels; needs no display.

    One key that varies runs along the horizontal axis, numbers to scale; several keys, long
    names and a single setting get one line each.
    """
    # Figures are made without pyplot, whose global state is not safe in a driver's threads.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    upright = _is_upright(summary)
    height = SIZE_INCHES[1] if upright else max(SIZE_INCHES[1], 1.8 + 0.36 * len(summary.rows))
    figure = Figure(figsize=(SIZE_INCHES[0], height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = _places(summary) if upright else [float(i) for i in range(len(summary.rows))]
    _draw_baseline(axes, summary, upright=upright)
    for row, place in zip(summary.rows, places, strict=True):
        _draw_setting(axes, summary, row, place, upright=upright)
    _label_axes(axes, summary, places, upright=upright)
    figure.suptitle(fill(summary.sentence, 88), fontsize=11, x=0.02, ha="left")
    figure.supxlabel(_word_legend(summary), fontsize=8, color=GREY, x=0.02, ha="left")
    figure.savefig(path, format="png")


def _is_upright(summary: SearchSummary) -> bool:
    if len(summary.keys) != 1 or len(summary.rows) < 2:
        return False
    if _numbers(summary) is not None:
        return True
    longest = max(len(row.values[0]) for row in summary.rows)
    return len(summary.rows) <= MOST_UPRIGHT and longest * len(summary.rows) <= 90


def _numbers(summary: SearchSummary) -> list[float] | None:
    """The values of the one key that varies, if all are numbers."""
    values = [row.setting.get(summary.keys[0]) for row in summary.rows]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return None
    return [float(value) for value in values if isinstance(value, int | float)]


def _is_logarithmic(numbers: list[float]) -> bool:
    """Learning rates and the like: all positive, over more than a factor of 30."""
    return min(numbers) > 0 and max(numbers) / min(numbers) > 30


def _places(summary: SearchSummary) -> list[float]:
    numbers = _numbers(summary)
    return [float(i) for i in range(len(summary.rows))] if numbers is None else numbers


def _draw_baseline(axes: "Axes", summary: SearchSummary, *, upright: bool) -> None:
    baseline = summary.baseline
    if baseline is None or baseline.mean is None:
        return
    score = scale_of(summary).factor * baseline.mean
    draw = axes.axhline if upright else axes.axvline
    draw(score, color=BLACK, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)


def _draw_setting(
    axes: "Axes", summary: SearchSummary, row: SettingSummary, place: float, *, upright: bool
) -> None:
    factor = scale_of(summary).factor

    def at(score: float) -> _Point:
        return (place, factor * score) if upright else (factor * score, place)

    for score in row.scores.values():
        axes.plot(*at(score), "o", color=GREY, markersize=4, alpha=0.45, mew=0, zorder=2)
    if row.mean is None:
        return
    color = {"better": BLUE, "worse": VERMILION}.get(row.verdict or "", BLACK)
    bar = summary.bar_of(row)
    if bar is not None:
        ends = [at(end) for end in bar]
        cap = "_" if upright else "|"
        axes.plot(
            *zip(*ends, strict=True), color=color, linewidth=2, marker=cap, ms=9, zorder=3
        )
    marker = {"better": "D", "worse": "s"}.get(row.verdict or "", "o")
    face = color if row.is_complete else "white"
    axes.plot(*at(row.mean), marker, color=color, mfc=face, markersize=8, zorder=4)


def _label_axes(
    axes: "Axes", summary: SearchSummary, places: list[float], *, upright: bool
) -> None:
    share = scale_of(summary).is_share
    score_label = f"{summary.metric} (%)" if share else summary.metric
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y" if upright else "x", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    if not upright:
        names = [cut_middle(row.label, LONGEST_NAME) for row in summary.rows]
        axes.set_yticks(places, names, fontsize=9)
        axes.set_ylim(len(places) - 0.5, -0.5)
        axes.set_xlabel(score_label)
        return
    axes.set_ylabel(score_label)
    axes.set_xlabel(summary.key_labels[0])
    numbers = _numbers(summary)
    if numbers is None:
        axes.set_xlim(-0.5, len(places) - 0.5)
    elif _is_logarithmic(numbers):
        axes.set_xscale("log")
        axes.minorticks_off()
    if numbers is None or len(numbers) <= MOST_UPRIGHT:
        axes.set_xticks(places, [row.values[0] for row in summary.rows])


def _word_legend(summary: SearchSummary) -> str:
    parts = ["grey: single seeds"]
    if any(row.difference_interval for row in summary.rows):
        parts.append(
            "bar: 95 % interval of the paired difference to the baseline (dashed), "
            "all at once\ndiamond: better, square: worse, circle: open"
        )
    elif summary.rows[0].interval and len(summary.rows) == 1:
        parts.append("bar: 95 % interval of the mean")
    if any(row.mean is not None and not row.is_complete for row in summary.rows):
        parts.append("hollow: seeds are missing")
    return ";  ".join(parts)
