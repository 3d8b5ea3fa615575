"""A summary for other programs."""

from collections.abc import Callable

from orchestrator.comparison.export import summary_to_csv
from orchestrator.comparison.summary import summarize_search
from orchestrator.tracking.record import SearchRecord

MakeRecord = Callable[..., SearchRecord]


def test_a_summary_becomes_a_frame(make_record: MakeRecord) -> None:
    """One row per setting with the CSV's columns; without an interval nothing is claimed."""
    columns = [({"loss.label_smoothing": 0.0}, [0.5]), ({"loss.label_smoothing": 0.1}, [0.75])]
    summary = summarize_search(make_record(columns))

    frame = summary.to_pandas()

    assert list(frame.columns) == summary_to_csv(summary).splitlines()[0].split(",")
    assert list(frame["loss.label_smoothing"]) == [0.0, 0.1]
    assert list(frame["is_baseline"]) == [True, False]
    assert list(frame["mean"]) == [0.5, 0.75]
    assert list(frame["verdict"]) == [None, None]
    assert summary_to_csv(summary).splitlines()[2] == "0.1,false,1,1,0.75,,,,0.25,,,"
