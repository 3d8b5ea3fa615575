"""A run's folder becomes a link to another's, whatever was there."""

from pathlib import Path

import pytest

from orchestrator.tracking.links import link_run, unlink_lost


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Folder of a finished run."""
    folder = tmp_path / "demo" / "1" / "seed=0"
    folder.mkdir(parents=True)
    (folder / "last.safetensors").write_bytes(b"weights")
    return folder


def test_what_an_interrupted_attempt_has_left_goes(target: Path, tmp_path: Path) -> None:
    """Also what was moved aside by one that was killed then; other runs' folders stay."""
    search = tmp_path / "demo" / "2"
    for name in ("seed=0/checkpoints", "seed=0.before-0123abcd", "seed=1"):
        (search / name).mkdir(parents=True)

    link_run(search / "seed=0", target)

    assert sorted(path.name for path in search.iterdir()) == ["seed=0", "seed=1"]
    assert (search / "seed=0" / "last.safetensors").read_bytes() == b"weights"


def test_another_link_is_replaced_and_what_it_led_to_stays(
    target: Path, tmp_path: Path
) -> None:
    """The link alone is this run's."""
    other, link = tmp_path / "other", tmp_path / "demo" / "2" / "seed=0"
    other.mkdir()

    link_run(link, other)
    link_run(link, target)

    assert link.resolve() == target
    assert other.is_dir()


def test_a_link_that_leads_nowhere_is_removed(target: Path, tmp_path: Path) -> None:
    """A run can be trained there again; a link to something stays."""
    lost, good = tmp_path / "lost", tmp_path / "good"
    lost.symlink_to("nowhere")
    good.symlink_to(target)

    for path in (lost, good, target):
        unlink_lost(path)

    assert (lost.is_symlink(), good.is_symlink(), target.is_dir()) == (False, True, True)
