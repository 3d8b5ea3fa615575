"""A view of a search, laid ready for MLflow's pages: its runs, ranked, with useful columns.

One tag of the experiment, in the form in which MLflow's own "share" button keeps a view. That
form is not a public interface: where MLflow does not take it, the pages open with their default
columns.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from orchestrator.planning.names import shorten_keys

_TAG = "mlflow.sharedViewState."


_PLAIN: Final = {
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "runsExpanded": {},
    "runsPinned": [],
    "runsHidden": [],
    "runsHiddenMode": "SHOW_ALL",
    "viewMaximized": False,
    "runListHidden": False,
    "isAccordionReordered": False,
    "useGroupedValuesInCharts": True,
    "hideEmptyCharts": True,
    "groupBy": None,
    "groupsExpanded": {},
    "autoRefreshEnabled": True,
    "globalLineChartConfig": {
        "xAxisKey": "step",
        "lineSmoothness": 0,
        "selectedXAxisMetricKey": "",
    },
}
"""What MLflow's pages want said though nothing about it is special."""


def view_key(label: str) -> str:
    """What a link names the view of the search `name#number` by."""
    return f"search{label.rpartition('#')[2]}"


def runs_filter(label: str) -> str:
    """MLflow's filter for the runs of the search `name#number`, without the search itself."""
    return f"tags.`orchestrator.search` = '{label}' AND tags.`orchestrator.kind` = 'run'"


def view_tag(plan: Mapping[str, Any]) -> tuple[str, str]:
    """Key and value of the experiment's tag.

    Args:
        plan: The search's plan, as JSON values.
    """
    label = f"{plan['name']}#{plan['number']}"
    result = f"result/{plan['metric'].rpartition('/')[2]}"
    keys = list(plan["settings"][0])
    columns = [f"params.`{key}`" for key in keys]
    columns += ["params.`seed`", f"metrics.`{result}`"]
    columns += [
        f"metrics.`{name}`" for name in ("train/loss", "val/nll") if name != plan["metric"]
    ]
    charts = [
        _scatter(key, short, result)
        for key, short in zip(keys, shorten_keys(keys), strict=True)
    ]
    charts += [_line(name) for name in ("val/accuracy", "train/loss", "val/nll", "train/lr")]
    view = {
        "searchFilter": runs_filter(label),
        "orderByKey": f"metrics.`{result}`",
        "orderByAsc": not plan["maximize"],
        **_PLAIN,
        "selectedColumns": columns,
        "compareRunCharts": charts,
        "compareRunSections": [
            {
                "uuid": _identifier("section"),
                "name": "Search",
                "display": True,
                "isReordered": False,
                "deleted": False,
                "isGenerated": False,
            }
        ],
    }
    return f"{_TAG}{view_key(label)}", json.dumps(view)


def _scatter(key: str, name: str, result: str) -> dict[str, Any]:
    return {
        **_chart(f"scatter {key}", f"{result} by {name}", "SCATTER"),
        "xaxis": {"key": key, "type": "PARAM"},
        "yaxis": {"key": result, "type": "METRIC"},
    }


def _line(metric: str) -> dict[str, Any]:
    return {
        **_chart(f"line {metric}", metric, "LINE"),
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _chart(identity: str, name: str, kind: str) -> dict[str, Any]:
    return {
        "uuid": _identifier(identity),
        "type": kind,
        "runsCountToCompare": 100,
        "metricSectionId": _identifier("section"),
        "deleted": False,
        "isGenerated": False,
        "displayName": name,
    }


def _identifier(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
