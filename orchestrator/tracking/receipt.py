"""The receipt of a run: everything that its numbers came from, on one page of JSON.

Made from the journal alone, so that it can be made again, and read without this tool.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from orchestrator.tracking.attempts import count_interruptions, list_attempts, word_changes
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.writing import write_whole

FILE_NAME: Final = "receipt.json"
_PASSING: Final = (
    "run",
    "status",
    "metrics",
    "weights_sha256",
    "duration_s",
    "attempts",
    "interruptions",
    "notes",
    "spec",
    "place",
    "git.root",
    "git.diff_file",
    "git.untracked",
)
"""What may differ between two trainings of the same numbers, and what they came to."""


def build_receipt(history: SearchHistory, run_id: str) -> dict[str, Any]:
    """The receipt of a run that has ended, as plain JSON values."""
    run, plan = history.runs[run_id], history.plan
    last = run.attempts[-1] if run.attempts else {}
    # The search may have gone on since, under other versions.
    facts = last.get("software", history.facts)
    return {
        "run": run_id,
        "fingerprint": run.plan.get("fingerprint", ""),
        "status": run.status,
        "metrics": dict(run.ending.get("metrics", {})),
        "weights_sha256": run.ending.get("weights_sha256", ""),
        "duration_s": run.ending.get("duration_s", 0.0),
        "numbers": run.plan["numbers"],
        "counted": {key: run.plan[key] for key in ("select", "metric", "maximize")},
        "environment": last.get("environment", plan.get("environment", {})),
        "software": {k: v for k, v in facts.items() if not k.startswith("git.")},
        "git": {
            key.removeprefix("git."): value
            for key, value in facts.items()
            if key.startswith("git.")
        },
        "workers": list(last.get("workers", [])),
        "parts": run.parts,
        "attempts": list_attempts(run.attempts),
        "interruptions": count_interruptions(run.notes),
        "changes": list(word_changes(run.attempts)),
        "notes": [
            {key: value for key, value in note.items() if key not in ("kind", "run", "history")}
            for note in run.notes
        ],
        "place": run.plan["place"],
        "spec": plan["spec_text"],
    }


def write_receipt(history: SearchHistory, run_id: str) -> Path:
    """Write a run's receipt to its folder.

    Raises:
        InfeasibleError: The disk is full or gone.
    """
    path = Path(history.runs[run_id].plan["place"]["folder"]) / FILE_NAME
    text = json.dumps(build_receipt(history, run_id), indent=1, ensure_ascii=False)
    write_whole(path, text + "\n")
    return path


def compare_receipts(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> list[tuple[str, object, object]]:
    """What two trainings of the same plan had different: field, its value in each.

    Left out is what passes, such as times and process ids, and what they came to.
    """
    there, here = (dict(_flatten(receipt, "")) for receipt in (first, second))
    return [
        (field, there.get(field), here.get(field))
        for field in sorted({*there, *here})
        if there.get(field) != here.get(field)
    ]


def _flatten(value: object, prefix: str) -> Iterator[tuple[str, object]]:
    if prefix in _PASSING or prefix.rpartition(".")[2] == "pid":
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flatten(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _flatten(item, f"{prefix}.{index}")
    else:
        yield prefix, value
