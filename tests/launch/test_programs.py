"""What the end of a program means: a refusal of ours, or a crash."""

import pytest

from orchestrator.launch.programs import CrashedError, begin_program, wait_for_programs
from orchestrator.launch.programs import word_failure as word

TRACE = 'Traceback (most recent call last):\n  File "loop.py", line 1, in train\n    step()\n'


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("orchestrator.errors.TrainingError: data.root: gone", "data.root: gone"),
        ("[rank1]: orchestrator.errors.TrainingError: a: b", "a: b"),
        ("orchestrator.training.memory.OutOfMemoryError: too large", "too large"),
        ("orchestrator.errors.SpecError: x.yaml:1: a\nx.yaml:2: b", "x.yaml:1: a\nx.yaml:2: b"),
    ],
)
def test_our_own_words_are_a_refusal(last: str, message: str) -> None:
    """Whatever the kind of error, and however many lines."""
    error = word(f"warning: something\n{TRACE}{last}\n", 1)

    assert not isinstance(error, CrashedError)
    assert str(error) == message


@pytest.mark.parametrize(
    ("err", "message"),
    [
        (f"{TRACE}ValueError: no\n", "ValueError: no"),
        # The refusal was the cause of what ended it.
        (
            f"{TRACE}orchestrator.errors.TrainingError: a\n\nThe above exception …:\n\n{TRACE}"
            "KeyError: 'b'\n",
            "KeyError: 'b'",
        ),
        ("", "ended with status -9"),
    ],
)
def test_anything_else_is_a_crash(err: str, message: str) -> None:
    """With its last line."""
    error = word(err, -9)

    assert isinstance(error, CrashedError)
    assert str(error) == message


def test_a_program_that_crashes_says_why() -> None:
    """A real one."""
    with pytest.raises(CrashedError, match=r"JSONDecodeError: Expecting value"):
        wait_for_programs([begin_program("equivalence", "not JSON")])
