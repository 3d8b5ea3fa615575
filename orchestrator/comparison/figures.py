"""The response curve as a picture: means with bars, seeds as dots, the baseline as a line.

Colours are from Okabe and Ito's palette, told apart by colour-blind readers, and shapes repeat
what colours say. What a bar means is said at `SearchSummary.bar_of`, and in the picture.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.comparison.curve import name_rows
from orchestrator.comparison.outcome import SearchSummary, SettingSummary
from orchestrator.comparison.scale import scale_of
from orchestrator.comparison.text import cut_middle, wrap_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, VERMILION, BLACK, GREY = "#0072B2", "#D55E00", "#222222", "#8A8A8A"
WIDTH_INCHES, HEIGHT_INCHES = 8.0, 5.0
DOTS_PER_INCH = 150
LONGEST_NAME = 34
MOST_UPRIGHT = 14


def draw_response_curve(summary: SearchSummary, path: Path) -> None:
    """Write the curve as a PNG, 1200 pixels wide, about 750 high; needs no display.

    One key that varies runs along the horizontal axis, numbers to scale; several keys, long
    names and a single setting get one line each.
    """
    # Figures are made without pyplot, whose global state is not safe in a driver's threads.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    upright = _is_upright(summary)
    height = HEIGHT_INCHES if upright else max(3.0, 2.0 + 0.36 * len(summary.rows))
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DOTS_PER_INCH, layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = [float(i) for i in range(len(summary.rows))]
    if upright and summary.numbers is not None:
        places = list(summary.numbers)
    _draw_baseline(axes, summary, upright=upright)
    for row, place in zip(summary.rows, places, strict=True):
        _draw_setting(axes, summary, row, place, upright=upright)
    _limit_scores(axes, summary, upright=upright)
    _label_axes(axes, summary, places, upright=upright)
    title = "\n".join(wrap_words(summary.sentence, 90))
    figure.suptitle(title, fontsize=11, x=0.02, ha="left")
    figure.supxlabel(_word_legend(summary), fontsize=8, color=GREY, x=0.02, ha="left")
    figure.savefig(path, format="png")


def _is_upright(summary: SearchSummary) -> bool:
    if len(summary.keys) != 1 or len(summary.rows) < 2:
        return False
    longest = max(len(row.values[0]) for row in summary.rows)
    fits = len(summary.rows) <= MOST_UPRIGHT and longest * len(summary.rows) <= 90
    return fits or summary.numbers is not None


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
    from matplotlib.transforms import ScaledTranslation

    factor = scale_of(summary).factor
    # Beside the bar, which would hide them.
    x, y = (-0.11, 0.0) if upright else (0.0, 0.11)
    beside = axes.transData + ScaledTranslation(x, y, axes.figure.dpi_scale_trans)
    for score in row.scores.values() if row.num_seeds > 1 else ():
        at = _turn(place, factor * score, upright=upright)
        axes.plot(*at, "o", color=GREY, ms=4, alpha=0.5, mew=0, transform=beside, zorder=2)
    if row.mean is None:
        return
    color = {"better": BLUE, "worse": VERMILION}.get(row.verdict or "", BLACK)
    if (bar := summary.bar_of(row)) is not None:
        ends = [_turn(place, factor * end, upright=upright) for end in bar]
        cap = "_" if upright else "|"
        axes.plot(
            *zip(*ends, strict=True), color=color, linewidth=2, marker=cap, ms=9, zorder=3
        )
    marker = {"better": "D", "worse": "s"}.get(row.verdict or "", "o")
    face = color if row.is_complete else "white"
    at = _turn(place, factor * row.mean, upright=upright)
    axes.plot(*at, marker, color=color, mfc=face, markersize=8, zorder=4)


def _turn(place: float, score: float, *, upright: bool) -> tuple[float, float]:
    return (place, score) if upright else (score, place)


def _limit_scores(axes: "Axes", summary: SearchSummary, *, upright: bool) -> None:
    """Room for every seed and bar; dots set beside their bar do not count by themselves."""
    factor = scale_of(summary).factor
    ends = [score for row in summary.rows for score in row.scores.values()]
    ends += [end for row in summary.rows for end in summary.bar_of(row) or ()]
    if not ends or min(ends) == max(ends):
        return
    low, high = factor * min(ends), factor * max(ends)
    limit = axes.set_ylim if upright else axes.set_xlim
    limit(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _label_axes(
    axes: "Axes", summary: SearchSummary, places: list[float], *, upright: bool
) -> None:
    score_label = f"{summary.metric} (%)" if scale_of(summary).is_share else summary.metric
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y" if upright else "x", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    if upright:
        axes.set_ylabel(score_label)
        axes.set_xlabel(summary.key_labels[0])
        _label_values(axes, summary, places)
        return
    key, names = name_rows(summary)
    axes.set_yticks(places, [cut_middle(name, LONGEST_NAME) for name in names], fontsize=9)
    axes.set_ylim(len(places) - 0.5, -0.5)
    axes.set_ylabel(key)
    axes.set_xlabel(score_label)


def _label_values(axes: "Axes", summary: SearchSummary, places: list[float]) -> None:
    """Ticks at the values, and room for all of them, even those without a single run."""
    low, high = min(places), max(places)
    # Learning rates and the like, over more than a factor of 30, would crowd at the left.
    if summary.numbers is not None and low > 0 and high / low > 30:
        axes.set_xscale("log")
        axes.minorticks_off()
        room = (high / low) ** 0.06
        axes.set_xlim(low / room, high * room)
    else:
        room = 0.06 * (high - low) if summary.numbers is not None else 0.5
        axes.set_xlim(low - room, high + room)
    if len(places) <= MOST_UPRIGHT:
        axes.set_xticks(places, [row.values[0] for row in summary.rows])


def _word_legend(summary: SearchSummary) -> str:
    parts = ["grey: single seeds"] if len(summary.seeds) > 1 else []
    if any(row.difference_interval for row in summary.rows):
        parts.append(
            "bar: 95 % interval of the paired difference to the baseline (dashed line)\n"
            "diamond: better, square: worse, circle: open"
        )
    elif len(summary.rows) == 1 and summary.rows[0].interval is not None:
        parts.append("bar: 95 % interval of the mean")
    if any(row.mean is not None and not row.is_complete for row in summary.rows):
        parts.append("hollow: seeds are missing")
    return ", ".join(parts)
