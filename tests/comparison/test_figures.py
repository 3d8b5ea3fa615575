"""The picture: that it is written for every kind of search, and holds what it must."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from matplotlib.image import imread

from orchestrator.comparison.figures import draw_response_curve
from orchestrator.comparison.summary import summarize_search
from orchestrator.tracking.record import SearchRecord, Setting

MakeRecord = Callable[..., SearchRecord]
Smoothing = Callable[..., list[tuple[Setting, Sequence[float]]]]

BASELINE = [0.90, 0.91, 0.92, 0.93, 0.94]
BETTER = [0.92, 0.94, 0.94, 0.96, 0.965]
WORSE = [0.88, 0.88, 0.90, 0.90, 0.915]
BLUE, VERMILION = (0, 114, 178), (213, 94, 0)

Columns = Sequence[tuple[Mapping[str, object], Sequence[object]]]


def draw(record: SearchRecord, folder: Path) -> Path:
    """The picture of a record."""
    path = folder / "curve.png"
    draw_response_curve(summarize_search(record), path)
    return path


def has_color(path: Path, color: tuple[int, int, int]) -> bool:
    """Whether any pixel has exactly this color."""
    pixels = (imread(path)[:, :, :3] * 255).round().astype(int)
    return bool((pixels == color).all(axis=2).any())


def test_picture_of_numbers_is_readable_in_size(
    make_record: MakeRecord, smoothing: Smoothing, tmp_path: Path
) -> None:
    """1200 x 750 pixels; better in blue, worse in vermilion."""
    path = draw(make_record(smoothing({0.0: BASELINE, 0.2: WORSE, 0.4: BETTER})), tmp_path)

    assert imread(path).shape[:2] == (750, 1200)
    assert has_color(path, BLUE)
    assert has_color(path, VERMILION)


def test_what_is_open_has_no_color(
    make_record: MakeRecord, smoothing: Smoothing, tmp_path: Path
) -> None:
    """A value that is not told apart must not look like a winner."""
    path = draw(make_record(smoothing({0.0: BASELINE, 0.2: BASELINE[::-1]})), tmp_path)

    assert not has_color(path, BLUE)
    assert not has_color(path, VERMILION)


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param([({}, BASELINE)], id="one setting"),
        pytest.param([({}, [0.5])], id="one run"),
        pytest.param([({"a": "sgd"}, BASELINE), ({"a": "adam"}, BETTER)], id="words"),
        pytest.param([({"a": True}, BASELINE), ({"a": False}, BETTER)], id="switch"),
        pytest.param([({"lr": 10.0**-i}, BASELINE) for i in range(6)], id="learning rates"),
        pytest.param(
            [({"lr": 0.1 + 0.01 * i}, BASELINE) for i in range(20)], id="many numbers"
        ),
        pytest.param([({"lr": i, "wd": i % 2}, BASELINE) for i in range(12)], id="two keys"),
        pytest.param([({"m": "x" * 90 + str(i)}, BETTER) for i in range(2)], id="long names"),
        pytest.param([({"lr": 1}, BASELINE), ({"lr": 2}, ["failed"] * 5)], id="no run"),
        pytest.param([({"lr": 1}, ["failed"]), ({"lr": 2}, [0.5])], id="no baseline"),
        pytest.param(
            [({"lr": 1}, BASELINE), ({"lr": 2}, [*BETTER[:4], "failed"])], id="hollow"
        ),
        pytest.param([({"lr": 1}, ["failed"]), ({"lr": 2}, ["failed"])], id="nothing"),
    ],
)
def test_every_kind_of_search_can_be_drawn(
    make_record: MakeRecord, tmp_path: Path, columns: Columns
) -> None:
    """Whatever runs are missing and however values are written, 1200 pixels wide."""
    assert imread(draw(make_record(columns), tmp_path)).shape[1] == 1200


def test_losses_are_drawn_without_percent(
    make_record: MakeRecord, smoothing: Smoothing, tmp_path: Path
) -> None:
    """A metric that is no share is drawn as it is."""
    columns = smoothing({0.0: BASELINE, 0.2: WORSE})

    assert has_color(
        draw(make_record(columns, metric="val/nll", maximize=False), tmp_path), BLUE
    )


def test_comparing_imports_nothing_heavy() -> None:
    """A summary needs neither SciPy nor matplotlib before it computes an interval."""
    code = (
        "import sys, orchestrator.comparison.report, orchestrator.comparison.figures\n"
        "print({'scipy', 'matplotlib'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout == "set()\n"
