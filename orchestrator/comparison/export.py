"""A summary for other programs: rows for a spreadsheet, plain JSON; all numbers unrounded."""

import csv
import io
from typing import Any

from orchestrator.comparison.outcome import SearchSummary, SettingSummary


def summary_to_csv(summary: SearchSummary) -> str:
    """One line per setting, one column per searched key; empty where there is no number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = summary.to_rows()
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow((row | {"is_baseline": str(row["is_baseline"]).lower()}).values())
    return text.getvalue()


def summary_to_json(summary: SearchSummary) -> dict[str, Any]:
    """Every number of the summary and the answer in words, as `json.dumps` takes it."""
    return {
        "search": summary.label,
        "metric": summary.metric,
        "maximize": summary.maximize,
        "keys": list(summary.keys),
        "seeds": list(summary.seeds),
        "answer": summary.sentence,
        "notes": list(summary.notes),
        "settings": [_nest(row) for row in summary.rows],
    }


def _nest(row: SettingSummary) -> dict[str, Any]:
    return {
        "setting": dict(row.setting),
        "label": row.label,
        "is_baseline": row.is_baseline,
        "scores": {str(seed): score for seed, score in row.scores.items()},
        "reused": list(row.reused),
        "unfinished": dict(row.unfinished),
        "mean": row.mean,
        "interval": None if row.interval is None else list(row.interval),
        "sd": row.sd,
        "difference": row.difference,
        "difference_interval": (
            None if row.difference_interval is None else list(row.difference_interval)
        ),
        "verdict": row.verdict,
    }
