"""A summary as Markdown, for the description of a search in MLflow: the answer first."""

from orchestrator.comparison.outcome import SearchSummary
from orchestrator.comparison.report import describe_summary


def describe_for_mlflow(summary: SearchSummary, *, description: str) -> str:
    """The sentence, what limits it, the question, and the table.

    Args:
        summary: The search, compared.
        description: What was asked, in the author's words.
    """
    parts = [f"**{summary.sentence}**"]
    parts += [f"- {note}" for note in summary.notes]
    if description:
        parts.append(f"_{description}_")
    parts.append(f"```\n{describe_summary(summary)}\n```")
    return "\n\n".join(parts)
