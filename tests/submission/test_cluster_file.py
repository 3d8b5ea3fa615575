"""What is read of a cluster's file, and what is refused in it."""

from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.submission.cluster_file import read_cluster_file


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A file that syncs its folder and a secret."""
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "cluster_name: lab\n"
        "file_mounts: {'~/secret': secret.txt, '~/project': '.', '~/more': more}\n"
    )
    (tmp_path / "secret.txt").touch()
    (tmp_path / "more").mkdir()
    return path


def test_the_project_is_the_first_folder(cluster: Path, tmp_path: Path) -> None:
    """Files that are synced are no project; an experiment is named as the head has it."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "x.yaml").touch()

    found = read_cluster_file(str(cluster))

    assert (found.name, found.project) == ("lab", tmp_path.resolve())
    assert found.locate(str(tmp_path / "experiments" / "x.yaml")) == "experiments/x.yaml"


def test_experiments_that_are_not_synced_are_refused(
    cluster: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One outside of the project, or none, is told at once."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.yaml"
    found = read_cluster_file(str(cluster))

    with pytest.raises(SpecError, match=r"x\.yaml: no such file$"):
        found.locate(str(elsewhere))
    elsewhere.touch()
    with pytest.raises(
        SpecError, match=r"lies outside of .*, the folder that cluster\.yaml sync"
    ):
        found.locate(str(elsewhere))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "cannot be read as YAML"),
        ("name: demo\n", "is no cluster's file: it has no cluster_name"),
        ("- 1\n", "is no cluster's file: it has no cluster_name"),
        ("cluster_name: lab\n", "file_mounts: syncs no folder; add '~/project': '.'"),
        ("cluster_name: lab\nfile_mounts: {'~/x': 'x.txt'}\n", "file_mounts: syncs no folder"),
    ],
)
def test_what_is_no_cluster_file(text: str, said: str, tmp_path: Path) -> None:
    """One line says what is wrong with it."""
    path = tmp_path / "other.yaml"
    path.write_text(text)

    with pytest.raises(SpecError) as caught:
        read_cluster_file(str(path))

    (line,) = caught.value.mistakes
    assert line.startswith(f"{path}: {said}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """As the user wrote it."""
    with pytest.raises(SpecError, match=r"nowhere/cluster\.yaml: no such file"):
        read_cluster_file(str(tmp_path / "nowhere" / "cluster.yaml"))
