"""What must be known of a cluster's file here: its name, and which folder it syncs to where."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import SpecError


@dataclass(frozen=True)
class ClusterFile:
    """A file that `ray up` reads."""

    path: Path
    """Absolute."""
    name: str
    project: Path
    """Folder on this machine that is synced: where the experiments lie."""

    def locate(self, spec: str) -> str:
        """The path of an experiment file as the cluster has it, relative to the project.

        Raises:
            SpecError: There is no such file, or it is not synced.
        """
        file = Path(spec).expanduser().absolute()
        if not file.is_file():
            raise SpecError([f"{spec}: no such file"])
        inside = file.resolve()
        if not inside.is_relative_to(self.project):
            raise SpecError(
                [
                    f"{spec}: lies outside of {self.project}, the folder that {self.path.name} "
                    "syncs; move it there, or add its folder to file_mounts"
                ]
            )
        return inside.relative_to(self.project).as_posix()


def read_cluster_file(path: str) -> ClusterFile:
    """Read a cluster's file.

    Raises:
        SpecError: It cannot be read, is none, or syncs no folder.
    """
    file = Path(path).expanduser().absolute()
    try:
        config = yaml.safe_load(file.read_text())
    except FileNotFoundError as error:
        raise SpecError([f"{path}: no such file"]) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        first = str(error).splitlines()[0]
        raise SpecError([f"{path}: cannot be read as YAML ({first})"]) from error
    if not isinstance(config, Mapping) or not isinstance(config.get("cluster_name"), str):
        raise SpecError(
            [f"{path}: is no cluster's file: it has no cluster_name; see cluster.yaml"]
        )
    return ClusterFile(file, config["cluster_name"], _find_project(path, file, config))


def _find_project(path: str, file: Path, config: Mapping[str, Any]) -> Path:
    """The first folder that is synced, as the head looks for it too (`__main__.py`)."""
    mounts = config.get("file_mounts") or {}
    for source in mounts.values() if isinstance(mounts, Mapping) else ():
        # Ray reads it relative to the folder that it is called in, which is the file's.
        folder = file.parent / Path(str(source)).expanduser()
        if folder.is_dir():
            return folder.resolve()
    raise SpecError([f"{path}: file_mounts: syncs no folder; add '~/project': '.'"])
