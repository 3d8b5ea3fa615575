"""What a working copy has that no commit has."""

from pathlib import Path

import pytest

from orchestrator.tracking.working_copy import save_changes
from tests.tracking.test_facts import git


@pytest.fixture
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working copy of one commit, the current folder, and a folder `kept` outside of it."""
    (tmp_path / "kept").mkdir()
    folder = tmp_path / "working"
    folder.mkdir()
    monkeypatch.chdir(folder)
    git("init", "--quiet")
    (folder / "net.py").write_text("width = 1\n")
    (folder / ".gitignore").write_text("ignored\n")
    git("add", ".")
    git("commit", "--quiet", "--message", "begin")
    return folder


def save(working: Path) -> dict[str, str]:
    """Keep what there is."""
    return save_changes(working, working.parent / "kept", storage=working / "runs")


def test_uncommitted_changes_are_kept(working: Path) -> None:
    """As a patch that git applies again, named by its content; nothing where all is clean."""
    assert save(working) == {}

    (working / "net.py").write_text("width = 2\n")
    facts = save(working)

    assert facts["git.diff_file"] == f"uncommitted-{facts['git.diff_sha256'][:8]}.diff"
    git("checkout", "--quiet", "net.py")
    git("apply", str(working.parent / "kept" / facts["git.diff_file"]))
    assert (working / "net.py").read_text() == "width = 2\n"


def test_what_the_user_has_set_for_the_eye_breaks_no_patch(working: Path) -> None:
    """Colours, other programs, names without a prefix; a link that leads to itself."""
    for key, value in (
        ("diff.external", "true"),
        ("color.ui", "always"),
        ("diff.noprefix", "true"),
    ):
        git("config", key, value)
    (working / "loop").symlink_to("loop")
    (working / "net.py").write_text("width = 2\n")
    (working / "new.py").write_text("width = 3\n")

    facts = save(working)

    git("checkout", "--quiet", "net.py")
    (working / "new.py").unlink()
    git("apply", "-p1", str(working.parent / "kept" / facts["git.diff_file"]))
    assert (working / "net.py").read_text() == "width = 2\n"
    assert (working / "new.py").read_text() == "width = 3\n"
    assert facts["git.untracked"].startswith("1 of 2 ")


def test_small_new_texts_are_kept_too(working: Path) -> None:
    """Wherever in the copy the spec lies; not what is large, binary, ignored or a record."""
    below = working / "specs"
    for name in ("specs", "runs"):
        (working / name).mkdir()
    texts = {"own net.py": "width = 3\n", "specs/a.yaml": "name: a\n"}
    (working / "tries").mkdir()
    records = {"runs/x.csv": "a", "tries/journal.jsonl": "{}", "tries/metrics.csv": "b"}
    others = {**records, "ignored": "a", "large": "x" * 65_537, "zero": "\0"}
    for name, text in (texts | others).items():
        (working / name).write_text(text)
    status = git("status", "--porcelain")

    facts = save_changes(below, working.parent / "kept", storage=working / "runs")

    assert git("status", "--porcelain") == status
    assert facts["git.untracked"] == "2 of 4 (texts of 64 KiB at most, 100 in all)"
    for name in texts:
        (working / name).unlink()
    git("apply", str(working.parent / "kept" / facts["git.diff_file"]))
    assert {name: (working / name).read_text() for name in texts} == texts
    assert "large" not in (working.parent / "kept" / facts["git.diff_file"]).read_text()
