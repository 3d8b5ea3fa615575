"""How runs are called and tagged in MLflow: by what differs, and at the end by the outcome."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from orchestrator.planning.names import name_setting, word_setting, word_value
from orchestrator.planning.run_plan import Scalar
from orchestrator.tracking.run_state import RunState

_LONGEST: Final = 1000
"""Letters of a parameter that is a list; MLflow cuts at 6,000 without a word."""


def child_name(run: RunState, *, outcome: float | None = None) -> str:
    """`label_smoothing=0.1 seed=2 → 0.956`, or the status of a run that did not finish."""
    name = f"{word_setting(run.setting)} seed={run.seed}".lstrip()
    if outcome is not None:
        return f"{name} → {outcome:.3f}"
    return f"{name} → {run.status}" if run.status in ("failed", "stopped") else name


def setting_tags(run: RunState) -> dict[str, str]:
    """Each searched key in full, the whole setting, and the seed."""
    return {
        **{key: word_value(value) for key, value in run.setting.items()},
        "orchestrator.setting": name_setting(run.setting),
        "orchestrator.seed": str(run.seed),
    }


def link_tags(run: RunState) -> dict[str, str]:
    """The run that this one's results are of, or that it goes on from."""
    shorter = run.plan["place"].get("extends", "")
    return {
        **({"orchestrator.reused": run.reused} if run.reused else {}),
        **({"orchestrator.extends": "/".join(Path(shorter).parts[-3:])} if shorter else {}),
    }


def search_tags(plan: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, str]:
    """What all runs of a search share: its label, and the software and devices it ran on."""
    return {
        "orchestrator.search": f"{plan['name']}#{plan['number']}",
        **{
            f"orchestrator.{key}": str(value)
            for key, value in facts.items()
            # A list of workers is for the receipt.
            if value != "" and not isinstance(value, list)
        },
    }


def flatten_plan(plan: Mapping[str, Any]) -> dict[str, str]:
    """Everything that decides a run's numbers, as flat text, and the searched keys by name."""
    return {**_flatten(plan["numbers"], ""), **_flatten(plan["setting"], "")}


def _flatten(values: Mapping[str, Any], prefix: str) -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = _word_exactly(value)
    return flat


def _word_exactly(value: Scalar | list[Any]) -> str:
    """As `word_value`, but a number with all its digits: `0`, `0.1`, `0.012345678`."""
    if isinstance(value, list):
        text = json.dumps(value)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    short = word_value(value)
    return repr(value) if isinstance(value, float) and float(short) != value else short
