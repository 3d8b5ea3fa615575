"""The view that is laid ready for MLflow's pages."""

import json
from typing import Any

import pytest

from orchestrator.tracking.saved_view import view_key, view_tag


@pytest.fixture
def plan() -> dict[str, Any]:
    """As much of a search's plan as a view needs."""
    return {
        "name": "demo",
        "number": 3,
        "metric": "val/accuracy",
        "maximize": True,
        "settings": [{"loss.label_smoothing": 0.0}, {"loss.label_smoothing": 0.1}],
    }


def test_the_view_ranks_the_runs_of_one_search(plan: dict[str, Any]) -> None:
    """Best first, without the search's own run, the searched key and the outcome as columns."""
    key, value = view_tag(plan)
    view = json.loads(value)

    assert key == "mlflow.sharedViewState.search3"
    assert view["searchFilter"] == (
        "tags.`orchestrator.search` = 'demo#3' AND tags.`orchestrator.kind` = 'run'"
    )
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`result/accuracy`", False)
    assert view["selectedColumns"][:3] == [
        "params.`loss.label_smoothing`",
        "params.`seed`",
        "metrics.`result/accuracy`",
    ]


def test_a_metric_to_minimize_is_ranked_upwards(plan: dict[str, Any]) -> None:
    """Lowest first, and the metric is no column twice."""
    view = json.loads(view_tag({**plan, "metric": "val/nll", "maximize": False})[1])

    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`result/nll`", True)
    assert "metrics.`val/nll`" not in view["selectedColumns"]


def test_the_tag_fits(plan: dict[str, Any]) -> None:
    """Sixteen searched keys stay below what MLflow keeps of a tag, and charts have own ids."""
    wide = {**plan, "settings": [{f"section.key_number_{i}": i for i in range(16)}]}
    value = view_tag(wide)[1]

    charts = [chart["uuid"] for chart in json.loads(value)["compareRunCharts"]]
    assert len(value) < 20_000
    assert len(set(charts)) == len(charts)


def test_a_link_and_the_tag_name_the_same_view(plan: dict[str, Any]) -> None:
    """The key of a link is the end of the tag's."""
    assert view_tag(plan)[0].endswith(f".{view_key('demo#3')}")
