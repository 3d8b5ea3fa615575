"""A summary as Markdown, for the description of a search in MLflow: the answer first."""

from orchestrator.comparison.outcome import SearchSummary
from orchestrator.comparison.report import describe_table


def describe_for_mlflow(summary: SearchSummary, *, description: str) -> str:
    """The sentence, the question, and the table with all that limits it, the sentence once.

    Args:
        summary: The search, compared.
        description: What was asked, in the author's words.
    """
    parts = [f"**{summary.sentence}**"]
    if description:
        parts.append(f"_{description}_")
    parts.append(f"```\n{describe_table(summary)}\n```")
    parts += ["\n".join(f"- {note}" for note in summary.notes)] if summary.notes else []
    return "\n\n".join(parts)
