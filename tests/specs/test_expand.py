"""Variables and paths: expanded where they are paths, relative to where they were written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.specs.expand import expand_path, expand_store, expand_variables
from orchestrator.specs.experiment import ExperimentSpec

Load = Callable[..., ExperimentSpec]
Refused = Callable[..., tuple[str, ...]]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}/x", "one/x"),
        ("${A}${A}", "oneone"),
        ("${NO:-two}", "two"),
        ("${EMPTY:-two}", "two"),
        ("${A:-two}", "one"),
        ("${NO:-}x", "x"),
        ("$$A", "$A"),
        ("plain", "plain"),
    ],
)
def test_variables_expand(text: str, expanded: str) -> None:
    """`${VAR}`, a fallback for an unset or empty one, and a dollar written twice."""
    assert expand_variables(text, {"A": "one", "EMPTY": ""}) == expanded


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("${NO}", "the environment variable NO is not set"),
        ("$HOME/x", r"variables are written \${HOME}, a dollar \$\$"),
        ("x$", r"variables are written \${NAME}, a dollar \$\$"),
        ("${A", r"variables are written \${NAME}, a dollar \$\$"),
    ],
)
def test_what_does_not_expand_is_refused(text: str, mistake: str) -> None:
    """An unset variable, or a dollar that begins nothing, never becomes part of a path."""
    with pytest.raises(ValueError, match=f"^{mistake}$"):
        expand_variables(text, {"A": "one"})


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the folder, to the home folder, or as they are."""
    monkeypatch.setenv("HOME", "/home/me")

    assert expand_path("../out", Path("/a/b")) == "/a/out"
    assert expand_path("~/out", Path("/a")) == "/home/me/out"
    assert expand_path("/out", Path("/a")) == "/out"


@pytest.mark.parametrize(
    ("text", "mistake"),
    [("", "is empty; name a path"), ("~no-such-user/x", "no home folder for '~no-such-user'")],
)
def test_paths_to_nowhere_are_refused(text: str, mistake: str) -> None:
    """An empty path would be the folder itself; an unknown user has no home."""
    with pytest.raises(ValueError, match=f"^{mistake}$"):
        expand_path(text, Path("/a"))


def test_stores_keep_their_scheme() -> None:
    """An SQLite file is a path, a server's address is not."""
    assert expand_store("sqlite:///m.db", Path("/a")) == "sqlite:////a/m.db"
    assert expand_store("http://host/m", Path("/a")) == "http://host/m"


def test_an_unset_variable_has_its_line(refused: Refused) -> None:
    """The mistake stands where the variable does."""
    assert refused("storage_path: ${NO_SUCH_VARIABLE}/runs\n") == (
        "x.yaml:5:15: storage_path: the environment variable NO_SUCH_VARIABLE is not set "
        "(got '${NO_SUCH_VARIABLE}/runs')",
    )


def test_only_paths_expand(load: Load) -> None:
    """A dollar in a description is a dollar."""
    assert load("description: costs ${5} or $HOME\n").keys.description == "costs ${5} or $HOME"


def test_a_password_is_refused_and_not_repeated(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even from a variable: it would be kept with every record."""
    monkeypatch.setenv("PASSWORD", "secret")

    assert refused("tracking: {uri: 'http://me:${PASSWORD}@host'}\n") == (
        "x.yaml:5:17: tracking.uri: holds a password; set MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD instead",
    )


def test_records_show_files_in_full_and_servers_as_written(
    load: Load, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorded text loads from anywhere, and keeps a server in the user's variable."""
    monkeypatch.setenv("SERVER", "me@host:5000")

    server = load("tracking: {uri: 'http://${SERVER}'}\n")
    file = load("tracking: {uri: 'sqlite:///m.db'}\nstorage_path: out\n")

    assert server.keys.tracking.uri == "http://me@host:5000"
    assert "uri: http://${SERVER}\n" in server.text
    assert f"uri: sqlite:///{folder}/m.db\nstorage_path: {folder}/out\n" in file.text
