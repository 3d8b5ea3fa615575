"""Experiments and runs in MLflow: found by tags that are ours, or created."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.naming import child_name, link_tags, search_tags, setting_tags
from orchestrator.tracking.store import artifact_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUN_ID_TAG: Final = "orchestrator.run_id"
JOURNAL_TAG: Final = "orchestrator.journal"


def find_experiment(client: "MlflowClient", plan: Mapping[str, Any], uri: str) -> str:
    """Id of the experiment that groups all searches of a name; made where it is missing.

    Raises:
        ValueError: MLflow has none and will not make one.
    """
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(plan["name"])
    if known is None:
        artifacts = artifact_folder(uri)
        location = (artifacts / plan["name"]).as_uri() if artifacts else None
        try:
            made: str = client.create_experiment(plan["name"], artifact_location=location)
        except MlflowException:
            # Another search of this name was quicker.
            known = client.get_experiment_by_name(plan["name"])
        else:
            return made
    if known is None:
        raise ValueError(f"MLflow has no experiment {plan['name']!r} and will not make one")
    identifier: str = known.experiment_id
    return identifier


def find_runs(client: "MlflowClient", experiment: str, history: SearchHistory) -> "list[Run]":
    """What earlier replays have begun of a search, itself among it."""
    found: list[Run] = client.search_runs(
        [experiment],
        f"tags.`orchestrator.search` = '{label_of(history.plan)}' and tags.`{JOURNAL_TAG}` = "
        f"'{_journal_id(history)}'",
        max_results=50_000,
    )
    return found


def delete_tag(client: "MlflowClient", identifier: str, name: str) -> None:
    """Remove a run's tag; one that is gone is no mistake, as the last answer may be lost."""
    from mlflow.exceptions import MlflowException

    try:
        client.delete_tag(identifier, name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def create_search(client: "MlflowClient", experiment: str, history: SearchHistory) -> str:
    """MLflow's id of a new run that stands for a search."""
    label = label_of(history.plan)
    created = client.create_run(
        experiment,
        start_time=milliseconds(history.begun[1]),
        run_name=label,
        tags={
            RUN_ID_TAG: label,
            "orchestrator.kind": "search",
            JOURNAL_TAG: _journal_id(history),
            "mlflow.note.content": history.plan["description"],
            **search_tags(history.plan, history.facts),
        },
    )
    identifier: str = created.info.run_id
    return identifier


def create_run(
    client: "MlflowClient",
    experiment: str,
    history: SearchHistory,
    run_id: str,
    *,
    parent: str,
) -> str:
    """MLflow's id of a new run below that of its search."""
    run = history.runs[run_id]
    created = client.create_run(
        experiment,
        start_time=milliseconds(run.started or run.ended),
        run_name=child_name(run),
        tags={
            RUN_ID_TAG: run_id,
            "orchestrator.kind": "run",
            JOURNAL_TAG: _journal_id(history),
            "mlflow.parentRunId": parent,
            **search_tags(history.plan, history.facts_of(run)),
            **setting_tags(run),
            **link_tags(run),
        },
    )
    identifier: str = created.info.run_id
    return identifier


def label_of(plan: Mapping[str, Any]) -> str:
    """`name#number` of a search."""
    return f"{plan['name']}#{plan['number']}"


def milliseconds(seconds: float) -> int:
    """A time as MLflow has it."""
    return int(seconds * 1000)


def _journal_id(history: SearchHistory) -> str:
    """Tells a search from one of the same label whose folder lies elsewhere or is gone."""
    begun = json.dumps(list(history.begun), sort_keys=True)
    return hashlib.sha256(begun.encode()).hexdigest()[:16]
