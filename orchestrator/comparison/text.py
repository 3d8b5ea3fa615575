"""Breaking and shortening lines of an answer, alike for a terminal and a picture."""

from textwrap import wrap

_HELD = "95\N{NO-BREAK SPACE}%"


def wrap_words(text: str, width: int, *, first: str = "", rest: str = "") -> list[str]:
    """Lines of at most `width` columns that never part `95 %`; `first`, `rest` indent them."""
    held = text.replace("95 %", _HELD)
    lines = wrap(held, width, initial_indent=first, subsequent_indent=rest)
    return [line.replace(_HELD, "95 %") for line in lines]


def cut_middle(text: str, room: int) -> str:
    """`my_package.mod…attention`: both ends tell more than either."""
    if len(text) <= room:
        return text
    front = (room - 1) // 2
    return f"{text[:front]}…{text[len(text) - (room - 1 - front) :]}"
