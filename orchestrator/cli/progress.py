"""The live view of a search: a line per lane and for the whole, best so far, time left."""

import time
from collections import defaultdict
from statistics import fmean

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.planning.names import name_setting, word_setting
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.run_state import RunState

_ENDED = ("finished", "failed", "stopped")
_BAR = 24
_TOLD_S = 10.0
"""How long it counts what was told to be waited for; it is told again every few seconds."""


class ProgressView:
    """Draws itself anew from the search's history whenever rich asks."""

    def __init__(self) -> None:
        self.history: SearchHistory | None = None
        self._waiting, self._told = "", 0.0
        self.begin()

    def begin(self) -> None:
        """Count the seconds of a start from now on, of the first or of another one."""
        self._began = time.monotonic()

    def wait_for(self, what: str) -> None:
        """Show what is waited for, while nothing can begin and this is told again and again."""
        self._waiting, self._told = what, time.monotonic()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One table; nothing of it outlives the next drawing."""
        history = self.history
        if history is None or not history.lanes:
            now = time.monotonic()
            starting = f"starting Ray and the lanes, {now - self._began:.0f} s"
            is_waiting = self._waiting and now - self._told < _TOLD_S
            yield Text(f"  {self._waiting if is_waiting else starting}", style="dim")
            return
        table = Table.grid(padding=(0, 2))
        for lane in sorted(history.lanes):
            run = history.runs.get(history.lanes[lane])
            if run is None:
                table.add_row(f"  {lane}", Text("waiting", style="dim"))
            else:
                table.add_row(f"  {lane}", *_word_progress(run, history))
        done = sum(run.status in _ENDED for run in history.runs.values())
        bar = ProgressBar(len(history.runs), _progress(history), width=_BAR)
        table.add_row("  all", bar, f"{done}/{len(history.runs)} runs", word_time_left(history))
        yield table
        best = word_best(history)
        if best:
            yield Text(f"  best so far  {best}", style="dim")


def plain_lines(history: SearchHistory) -> list[str]:
    """A line for every run that has ended, in the order in which they did."""
    ended = sorted(
        (run for run in history.runs.values() if run.status in _ENDED),
        key=lambda run: run.ended,
    )
    metric = history.plan.get("metric", "")
    lines = []
    for count, run in enumerate(ended, start=1):
        score = run.ending["metrics"].get(metric)
        outcome = run.status if score is None else f"{metric} {score:.4f}"
        if run.ending["error"]:
            outcome += f": {run.ending['error']}"
        total = len(history.runs)
        lines.append(
            f"[{count:>{len(str(total))}}/{total}] {word_run(run)}  {outcome}  "
            f"{_word_duration(run, history)}"
        )
    return lines


def _word_duration(run: RunState, history: SearchHistory) -> str:
    """How long it took; of what was not trained now, where it is from."""
    if run.reused:
        return f"reused, of {'#'.join(run.reused.split('/')[:2])}"
    if run.ended < history.started:
        return "done before"
    return f"{run.ending['duration_s']:.1f} s"


def word_run(run: RunState) -> str:
    """`label_smoothing=0.1 seed=2`."""
    return f"{word_setting(run.setting)} seed={run.seed}".strip()


def word_time_left(history: SearchHistory) -> str:
    """An estimate from the epochs done since the first run began; empty before there is one."""
    starts = [run.started for run in history.runs.values() if run.started]
    done = _progress(history)
    if not starts or not done:
        return ""
    seconds = (time.time() - min(starts)) / done * (len(history.runs) - done)
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} left"


def word_best(history: SearchHistory) -> str:
    """The best mean so far, with how many seeds it is of; empty before a run has finished."""
    metric = history.plan["metric"]
    scores: dict[str, list[float]] = defaultdict(list)
    for run in history.runs.values():
        if metric in run.ending.get("metrics", {}):
            scores[name_setting(run.setting)].append(run.ending["metrics"][metric])
    if not scores:
        return ""
    sign = 1 if history.plan["maximize"] else -1
    name = max(scores, key=lambda key: sign * fmean(scores[key]))
    count = len(scores[name])
    seeds = "1 seed" if count == 1 else f"mean of {count} seeds"
    return f"{name}  {metric} {fmean(scores[name]):.4f}, {seeds}".strip()


def _progress(history: SearchHistory) -> float:
    """Runs done, those that are under way counted by their epochs."""
    return sum(
        1.0 if run.status in _ENDED else len(run.history) / run.epochs
        for run in history.runs.values()
    )


def _word_progress(run: RunState, history: SearchHistory) -> tuple[ProgressBar, str, str, str]:
    # Taken once: the thread that follows the journal may begin the run anew meanwhile.
    epochs = run.history
    metric = history.plan["metric"]
    return (
        ProgressBar(run.epochs, len(epochs), width=_BAR),
        f"epoch {len(epochs)}/{run.epochs}",
        word_run(run),
        f"{metric} {epochs[-1][metric]:.4f}" if epochs else "",
    )
