"""Journal -> MLflow: what is written follows what was journalled.

A replay compares what the journal says with what it has written and writes the rest, in
batches. Runs are found by tags that are ours, times and steps come from the journal, and MLflow
drops a value that it has already: replaying from the beginning changes nothing.
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.mlflow_ids import write_ids
from orchestrator.tracking.mlflow_runs import (
    RUN_ID_TAG,
    create_run,
    create_search,
    delete_tag,
    find_experiment,
    find_runs,
    label_of,
    milliseconds,
)
from orchestrator.tracking.naming import child_name, flatten_plan, search_tags
from orchestrator.tracking.receipt import FILE_NAME, build_receipt
from orchestrator.tracking.run_state import RunState
from orchestrator.tracking.saved_view import view_tag
from orchestrator.tracking.store import find_uri, log_batches, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run, RunTag

_ERROR: Final = "orchestrator.error"
_STATUS: Final = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


class Replay:
    """Writes one search to MLflow.

    Args:
        folder: The search's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._history = SearchHistory(folder)
        self._folder = folder
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._ids: dict[str, str] = {}
        """Our run id, or the search's label, to MLflow's run id."""
        self._epochs: dict[str, int] = {}
        """Our run id to how many of its epochs are written."""
        self._begun: set[str] = set()
        """Run ids of which the parameters are written, and the search's label."""
        self._ended: set[str] = set()
        self._killed: set[str] = set()
        """Those that MLflow takes for ended, though they go on."""
        self._blamed: set[str] = set()
        """Those of which MLflow has an error, of an attempt that has ended."""
        self._artifacts_written = False

    def step(self) -> bool:
        """Write what is new; False while the search has not begun to train.

        MLflow is imported by the first call that has something to write.
        """
        self._history.follow()
        if not any(run.history or run.ending for run in self._history.runs.values()):
            return False
        client = self._connect()
        label, known = label_of(self._history.plan), len(self._ids)
        if label not in self._begun:
            self._begin_search(client, label)
        for run_id, run in self._history.runs.items():
            # A run that was never begun has nothing to show.
            if (run.attempt or run.notes) and run_id not in self._ended:
                self._write_run(client, run_id, run)
        if len(self._ids) > known:
            # Who looks while it goes on shall find what there is.
            self._write_ids()
        if self._history.status != "running":
            self._write_end(client)
        return True

    @property
    def is_complete(self) -> bool:
        """Whether the search has ended and everything of it is written."""
        return bool(self._history.answer) and self._artifacts_written

    def _connect(self) -> "MlflowClient":
        if self._client is None:
            uri = find_uri(self._history.plan, self._folder)
            client = open_store(uri)
            self._experiment = find_experiment(client, self._history.plan, uri)
            for run in find_runs(client, self._experiment, self._history):
                self._take_up(run)
            self._client = client
        return self._client

    def _take_up(self, run: "Run") -> None:
        """Go on with a run that an earlier replay has begun."""
        run_id = run.data.tags[RUN_ID_TAG]
        self._ids[run_id] = run.info.run_id
        if _ERROR in run.data.tags:
            self._blamed.add(run_id)
        ours = self._history.runs.get(run_id)
        # A parameter is written once for good; all of one run's are one batch after another.
        if ours is not None and len(run.data.params) >= len(flatten_plan(ours.plan)):
            self._begun.add(run_id)
        if run.info.status == "FINISHED" and ours is not None and ours.status == "finished":
            self._ended.add(run_id)
        elif run.info.status != "RUNNING":
            self._killed.add(run_id)

    def _revive(self, client: "MlflowClient", run_id: str) -> None:
        """Let MLflow know that an interrupted run goes on."""
        if run_id in self._blamed:
            delete_tag(client, self._ids[run_id], _ERROR)
            self._blamed.remove(run_id)
        if run_id in self._killed:
            client.update_run(self._ids[run_id], status="RUNNING")
            self._killed.remove(run_id)

    def _begin_search(self, client: "MlflowClient", label: str) -> None:
        plan = self._history.plan
        if label not in self._ids:
            self._ids[label] = create_search(client, self._experiment, self._history)
        self._revive(client, label)
        client.log_text(self._ids[label], plan["spec_text"], "spec.yaml")
        client.log_text(self._ids[label], json.dumps(plan, indent=1), "plan.json")
        client.set_experiment_tag(self._experiment, *view_tag(plan))
        self._begun.add(label)

    def _write_run(self, client: "MlflowClient", run_id: str, run: RunState) -> None:
        from mlflow.entities import Metric, Param

        params: list[Param] = []
        label = label_of(self._history.plan)
        if run_id not in self._ids:
            self._ids[run_id] = create_run(
                client, self._experiment, self._history, run_id, parent=self._ids[label]
            )
        self._revive(client, run_id)
        if run_id not in self._begun:
            params = [Param(key, value) for key, value in flatten_plan(run.plan).items()]
        metrics = [
            Metric(key, value, milliseconds(when), int(values["epoch"]))
            for when, values in run.first_reports[self._epochs.get(run_id, 0) :]
            for key, value in values.items()
            if key != "epoch"
        ]
        metrics += [
            Metric(f"result/{key.rpartition('/')[2]}", value, milliseconds(run.ended), 0)
            for key, value in run.ending.get("metrics", {}).items()
        ]
        tags = self._end_tags(run) if run.status in _STATUS else []
        log_batches(client, self._ids[run_id], metrics, params, tags)
        self._begun.add(run_id)
        self._epochs[run_id] = len(run.first_reports)
        if run.status in _STATUS:
            self._end_run(client, run_id, run)

    def _end_tags(self, run: RunState) -> "list[RunTag]":
        from mlflow.entities import RunTag

        told = {
            # Again: another lane may have finished what one began.
            **search_tags(self._history.plan, self._history.facts_of(run)),
            _ERROR: run.ending.get("error"),
            "orchestrator.weights": run.ending.get("weights_sha256"),
        }
        return [RunTag(key, value) for key, value in told.items() if value]

    def _end_run(self, client: "MlflowClient", run_id: str, run: RunState) -> None:
        identifier = self._ids[run_id]
        if run.attempts:
            receipt = build_receipt(self._history, run_id)
            client.log_text(identifier, json.dumps(receipt, indent=1), FILE_NAME)
        metric = run.ending.get("metrics", {}).get(self._history.plan["metric"])
        client.update_run(identifier, name=child_name(run, outcome=metric))
        client.set_terminated(identifier, _STATUS[run.status], milliseconds(run.ended))
        self._ended.add(run_id)

    def _write_end(self, client: "MlflowClient") -> None:
        label = label_of(self._history.plan)
        identifier = self._ids[label]
        for key, value in search_tags(self._history.plan, self._history.facts).items():
            client.set_tag(identifier, key, value)
        answer = self._history.answer
        if answer:
            client.set_tag(identifier, "mlflow.note.content", answer["markdown"])
            for path in map(Path, answer["files"]):
                if path.exists():
                    client.log_artifact(identifier, str(path))
        client.set_terminated(
            identifier,
            _STATUS[self._history.status],
            milliseconds(answer.get("t", time.time())),
        )
        self._artifacts_written = bool(answer)
        self._write_ids()

    def _write_ids(self) -> None:
        values = {
            "uri": find_uri(self._history.plan, self._folder),
            "experiment": self._experiment,
            "complete": self.is_complete,
            "search": self._ids[label_of(self._history.plan)],
            "runs": {k: v for k, v in self._ids.items() if k in self._history.runs},
        }
        write_ids(self._folder, values)
