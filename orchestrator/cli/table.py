"""Small tables of text, as `evaluate` and `features` print them."""

from collections.abc import Sequence

GAP = "  "


def draw_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, to_left: int = 1) -> str:
    """A head, a rule and rows, in columns.

    Args:
        head: A word for each column.
        rows: Cells.
        to_left: So many columns from the left are words, the others numbers.
    """
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    lines = [
        GAP
        + GAP.join(
            cell.ljust(width) if place < to_left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
    rule = GAP + "─" * (sum(widths) + len(GAP) * (len(widths) - 1))
    return "\n".join(line.rstrip() for line in (lines[0], rule, *lines[1:]))
