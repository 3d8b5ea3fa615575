"""The attempts of a run: under what each was trained, and what changed from one to the next.

Sums of floats differ between kinds of devices and versions: a run that went on elsewhere may
have other last digits than one that never stopped, and whoever compares them must be told.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from orchestrator.tracking.facts import PACKAGES

Attempt = Mapping[str, Any]
Note = Mapping[str, Any]

_SOFTWARE: Final = ("python", *PACKAGES, "cuda", "cudnn")
_LEFT_BYTES: Final = 2**28
"""What libraries keep on a GPU for themselves is less."""
_WORKERS: Final = ("device_name", "cpu_capability", "threads")


def describe_attempt(
    number: int,
    started: float,
    *,
    plan: Mapping[str, Any],
    facts: Mapping[str, Any],
    lane: Mapping[str, Any],
) -> Attempt:
    """What is known when an attempt begins.

    Args:
        number: As its lane counts it.
        started: Seconds since 1970.
        plan: Of the search as it is then.
        facts: What the driver knows of software and working copy.
        lane: What the lane's processes have said of themselves.
    """
    rest = {key: value for key, value in lane.items() if key != "workers"}
    return {
        "attempt": number,
        "started": started,
        "workers": lane.get("workers", []),
        "facts": {**facts, **rest},
        "software": dict(facts),
        "environment": plan.get("environment", {}),
    }


def list_attempts(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    """Every attempt as a receipt has it, numbered over all sessions of the search.

    What was installed, committed or driving it is named where the last attempt had another.
    """
    return [
        {
            "attempt": number,
            "started": attempt["started"],
            "world_size": len(attempt["workers"]),
            "devices": [worker["device"] for worker in attempt["workers"]],
            "workers": list(attempt["workers"]),
            "differs": _list_others(attempt, attempts[-1]),
        }
        for number, attempt in enumerate(attempts, start=1)
    ]


def word_changes(attempts: Sequence[Attempt]) -> Iterator[str]:
    """A line for every attempt that was not trained as the one before it: what, and by what."""
    for number, (before, attempt) in enumerate(pairwise(attempts), 2):
        then, now = _list_deciding(before), _list_deciding(attempt)
        changed = [
            f"{name} {now[name]}, was {then[name]}"
            for name in now
            # What one of them does not know is no change.
            if then.get(name) and now[name] and now[name] != then[name]
        ]
        if changed:
            yield f"attempt {number} went on under other conditions: {'; '.join(changed)}"


def word_notes(notes: Sequence[Note], attempts: Sequence[Attempt]) -> Iterator[str]:
    """What a user must hear of a run: nothing of what went as it should."""
    for note in notes:
        yield from _word_note(note)
    for kind, what in (("preempted", "preempted"), ("died", "lost a worker")):
        if told := [note for note in notes if note["note"] == kind]:
            times = "once" if len(told) == 1 else f"{len(told)} times"
            yield f"{what} {times} ({told[-1]['why']}); went on from its checkpoint"
    yield from word_changes(attempts)


def _word_note(note: Note) -> Iterator[str]:
    if note["note"] == "resumed":
        went_on = note["checkpoint"] or "the beginning"
        for path in note["damaged"]:
            yield f"{path} is damaged; went on from {went_on}"
    elif note["note"] == "parts":
        parts = f"{note['parts']} parts"
        yield f"batches were cut into {parts}; batch normalisation sees one part at a time"
    elif note["note"] == "scored":
        at_once = f"{note['at_once']} at a time"
        yield f"images were scored {at_once}: more found no memory on the GPU"
    elif note["note"] == "memory" and note["left"] > _LEFT_BYTES:
        left = f"{note['left'] / 2**20:,.0f} MiB"
        yield f"{left} of the GPU stayed taken after it; the next run of its lane has less"


def count_interruptions(notes: Sequence[Note]) -> dict[str, int]:
    """How often a machine was taken away, and how often a worker died by itself."""
    kinds = [note["note"] for note in notes]
    return {"preemptions": kinds.count("preempted"), "deaths": kinds.count("died")}


def find_reused(notes: Sequence[Note], attempts: Sequence[Attempt]) -> str:
    """The run whose results were taken, where none of its own came after; else empty."""
    taken = [note for note in notes if note["note"] == "reused"]
    if not taken or (attempts and attempts[-1]["started"] > taken[-1]["t"]):
        return ""
    run_id: str = taken[-1]["run_id"]
    return run_id


def find_fewer(attempts: Sequence[Attempt], workers: int) -> str:
    """With how many workers a run was trained for a part, in words; empty where with all."""
    known = [len(attempt["workers"]) for attempt in attempts if attempt["workers"]]
    fewer = dict.fromkeys(count for count in known if count < workers)
    return f"{' and '.join(map(str, fewer))} of {workers} workers" if fewer else ""


def _list_others(attempt: Attempt, last: Attempt) -> dict[str, Any]:
    names = sorted({*attempt["software"], *last["software"]})
    here, there = attempt["software"], last["software"]
    return {name: here.get(name, "") for name in names if here.get(name) != there.get(name)}


def _list_deciding(attempt: Attempt) -> dict[str, str]:
    """What can change a number beside plan and source, which the fingerprint holds."""
    facts = attempt["facts"]
    own = {name: str(facts.get(name, "")) for name in _SOFTWARE}
    for name in _WORKERS:
        own[name] = ", ".join(str(worker.get(name, "")) for worker in attempt["workers"])
    return own
