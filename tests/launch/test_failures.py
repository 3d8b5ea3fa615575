"""How a run that raised is told."""

import re
from pathlib import Path

import pytest

from orchestrator.errors import NonFiniteLossError
from orchestrator.launch.failures import ERROR_FILE, describe_failure


def test_the_users_own_frame_is_named(tmp_path: Path) -> None:
    """The line is the innermost one in the user's file, not where a library raised."""
    module = tmp_path / "mine.py"
    module.write_text("import json\n\ndef build():\n    return json.loads('not json')\n")
    names: dict[str, object] = {}
    exec(compile(module.read_text(), module, "exec"), names)
    build = names["build"]
    assert callable(build)
    with pytest.raises(ValueError, match="Expecting value") as caught:
        build()

    ending = describe_failure(caught.value, tmp_path / "run")

    assert ending["status"] == "failed"
    assert re.fullmatch(
        rf"{re.escape(str(module))}:4 in build: JSONDecodeError: Expecting value: .*",
        ending["error"],
    )


def test_the_whole_traceback_is_kept(tmp_path: Path) -> None:
    """The file in the run's folder has all lines of the message, the record one."""
    ending = describe_failure(RuntimeError("two\nlines"), tmp_path / "run")

    text = (tmp_path / "run" / ERROR_FILE).read_text()
    assert text == "RuntimeError: two\nlines\n"
    assert ending["traceback"] == str(tmp_path / "run" / ERROR_FILE)
    assert ending["error"].endswith("RuntimeError: two lines")


def test_an_error_of_ours_is_its_own_message(tmp_path: Path) -> None:
    """A loss that turned to NaN needs no frame: the message says where and what to do."""
    ending = describe_failure(NonFiniteLossError("the loss turned to nan in step 2"), tmp_path)

    assert ending["error"] == "the loss turned to nan in step 2"
