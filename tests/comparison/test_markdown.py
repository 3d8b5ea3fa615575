"""The description of a search in MLflow."""

from collections.abc import Callable
from typing import Any

from orchestrator.comparison.markdown import describe_for_mlflow
from orchestrator.comparison.report import describe_table
from orchestrator.comparison.summary import summarize_search
from orchestrator.tracking.record import SearchRecord


def test_the_answer_comes_first_and_nothing_comes_twice(
    make_record: Callable[..., SearchRecord], smoothing: Callable[..., Any]
) -> None:
    """The sentence in bold, the question, the table, then what limits the answer."""
    columns = smoothing({0.0: [0.5, 0.6, 0.7], 0.1: [0.6, 0.7, 0.75]})
    summary = summarize_search(make_record(columns, select="best", caveat="it is bent"))
    assert len(summary.notes) == 2

    text = describe_for_mlflow(summary, description="does it help?")

    assert text == "\n\n".join(
        [
            f"**{summary.sentence}**",
            "_does it help?_",
            f"```\n{describe_table(summary)}\n```",
            f"- {summary.notes[0]}\n- {summary.notes[1]}",
        ]
    )
    for part in (summary.sentence, *summary.notes):
        assert text.count(part) == 1


def test_without_question_and_limits_there_are_the_answer_and_the_table(
    make_record: Callable[..., SearchRecord], smoothing: Callable[..., Any]
) -> None:
    """Nothing empty is written."""
    columns = smoothing({0.0: [0.5, 0.6, 0.7], 0.1: [0.6, 0.7, 0.75]})
    summary = summarize_search(make_record(columns))

    text = describe_for_mlflow(summary, description="")

    assert text == f"**{summary.sentence}**\n\n```\n{describe_table(summary)}\n```"
