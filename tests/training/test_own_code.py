"""The user's own modules, as they are now and from the folder that was asked for."""

from pathlib import Path

from orchestrator.training.own_code import load_callable


def write(folder: Path, value: int) -> str:
    """A module that says a value, by way of another one."""
    folder.mkdir(exist_ok=True)
    (folder / "same_name.py").write_text("from same_part import VALUE\ndef f(): return VALUE\n")
    (folder / "same_part.py").write_text(f"VALUE = {value}\n")
    return str(folder)


def say(folder: str) -> int:
    """What the folder's module says."""
    said: int = load_callable("same_name:f", key="loss.name", sources=folder)()
    return said


def test_each_folder_has_its_own_module_of_a_name(tmp_path: Path) -> None:
    """Two experiments in one process, one after the other and back again."""
    first, second = write(tmp_path / "a", 1), write(tmp_path / "b", 2)

    assert [say(first), say(second), say(first)] == [1, 2, 1]


def test_an_edited_module_is_imported_anew(tmp_path: Path) -> None:
    """Also where the edit is in what it imports."""
    folder = write(tmp_path / "c", 3)

    assert say(folder) == 3
    write(tmp_path / "c", 4444)
    assert say(folder) == 4444


def test_a_module_that_stays_is_kept(tmp_path: Path) -> None:
    """What was imported once is the same object the next time."""
    folder = write(tmp_path / "d", 5)

    first = load_callable("same_name:f", key="loss.name", sources=folder)
    assert load_callable("same_name:f", key="loss.name", sources=folder) is first
