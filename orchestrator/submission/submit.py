"""`run --cluster`: sync, submit, follow, and bring records back."""

import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import InfeasibleError
from orchestrator.submission.cluster_file import ClusterFile
from orchestrator.submission.digest import digest_experiment
from orchestrator.submission.ray_commands import RayCommands
from orchestrator.submission.word import find_word, read_word


@dataclass(frozen=True)
class Outcome:
    """What came of a submission."""

    status: int
    """Exit status of the command on the head."""
    records: Path | None
    """The search's folder on this machine; None where there is none to bring."""

    @property
    def label(self) -> str:
        """The search, `NAME#3`; only where there are records."""
        assert self.records is not None
        return f"{self.records.parent.name}#{self.records.name}"

    @property
    def storage(self) -> Path:
        """The folder under which the records lie; only where there are some."""
        assert self.records is not None
        return self.records.parents[1]


class Submission:
    """A `run` on the head of a cluster, as it is made here.

    Args:
        cluster: The cluster's file.
        spec: Path of the experiment file on this machine.

    Raises:
        SpecError: The cluster does not get that file, or it is no experiment.
    """

    def __init__(self, cluster: ClusterFile, spec: str) -> None:
        self._cluster = cluster
        self._there = cluster.locate(spec)
        self._digest = digest_experiment(spec)
        self._ray = RayCommands(cluster)
        self._name = uuid.uuid4().hex

    def find_head(self) -> str:
        """The head's address; raises as `RayCommands.find_head`."""
        return self._ray.find_head()

    def sync(self) -> None:
        """Copy the project to the head; raises as `RayCommands.sync`."""
        self._ray.sync()

    def run(self, options: Sequence[str], *, storage: Path) -> Outcome:
        """Run it there, in this terminal, and bring the search's folder here.

        Args:
            options: More arguments of `run`: overrides and options.
            storage: Folder of all experiments on this machine. What a cluster has trained lies
                below it in `@CLUSTER`, so that its numbers are the cluster's.

        Raises:
            InfeasibleError: The connection was lost; the run goes on there.
        """
        arguments = ["run", self._there, *options]
        checks = ["--expect", self._digest, "--submission", self._name]
        self._ray.submit([*arguments, *checks])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "word.json"
            if not self._ray.fetch(str(find_word(self._name)), file):
                raise InfeasibleError(
                    f"{self._cluster.name}: no word came back: the connection or the head was "
                    "lost; a run that had begun goes on there and writes to output.txt in its "
                    "folder, and the same command brings its records once it has ended"
                )
            word = read_word(file)
        if not word.folder:
            return Outcome(word.status, None)
        return Outcome(word.status, self._bring(word.folder, storage))

    def _bring(self, there: str, storage: Path) -> Path:
        source = Path(there)
        target = storage / f"@{self._cluster.name}" / source.parent.name / source.name
        target.mkdir(parents=True, exist_ok=True)
        if not self._ray.fetch(f"{source}/", target):
            raise InfeasibleError(
                f"{self._cluster.name}: {there} could not be copied to {target}; "
                "the same command tries it again"
            )
        return target
