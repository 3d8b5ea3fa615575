"""Every machine looked at, and what is to be said of them."""

import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.doctor import findings as rules
from orchestrator.doctor.examination import examine, examine_data, read_clock
from orchestrator.doctor.findings import Finding
from orchestrator.errors import InfeasibleError
from orchestrator.launch.cluster import look
from orchestrator.launch.environment import prepare_environment
from orchestrator.launch.everywhere import ask_every_node, marked
from orchestrator.planning.cluster import Cluster, Node
from orchestrator.planning.resolve import default_store, describe_cluster
from orchestrator.specs.addresses import check_address, is_address
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.tracking import storage as places
from orchestrator.tracking.mirror import open_store, work_folder
from orchestrator.tracking.storage import VARIABLE
from orchestrator.tracking.store import check_store, reach_store, store_path

HERE = "this machine"


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What was found."""

    machines: str
    """Which machines, in words."""
    findings: tuple[Finding, ...]
    reports: Mapping[str, Mapping[str, Any]]
    """Name of each machine to what was looked at there, for a program."""

    @property
    def stops(self) -> bool:
        """Whether something would stop a run."""
        return rules.worst(self.findings) == "stop"


def visit(spec: ExperimentSpec | None, *, storage_path: str | None = None) -> Visit:
    """Look at this machine, or at every node of the Ray that is joined.

    Args:
        spec: An experiment whose storage, store and data are looked at; None for the defaults.
        storage_path: Where the records go, where no experiment says it.

    Raises:
        InfeasibleError: RAY_ADDRESS is set and no Ray answers there.
    """
    prepare_environment()
    cluster = look()
    asked = (spec.keys.storage_path if spec else storage_path) or os.environ.get(VARIABLE) or ""
    address = asked.rstrip("/") if is_address(asked) else ""
    folder = work_folder() / "storage" if address else places.find_storage(asked)
    reports, silent = _examine_all(cluster, folder, address)
    has_runs = any(report["has_broker"] for report in reports.values())
    uri = (spec.keys.tracking.uri if spec else None) or default_store(folder / "name" / "1")
    found = [
        *(_silent(node) for node in silent),
        *rules.list_findings(reports, folder=address or str(folder), has_runs=has_runs),
        _judge_tracking(uri),
        *(_judge_data(spec, cluster) if spec else ()),
    ]
    return Visit(machines=describe_cluster(cluster), findings=tuple(found), reports=reports)


@contextmanager
def _marked(folder: Path, address: str) -> Iterator[str]:
    """A file in the storage, for as long as the block lasts, where there can be one."""
    if address:
        with ExitStack() as held:
            mark = ""
            # What is wrong is said by the examination of this machine.
            with suppress(InfeasibleError, ValueError):
                open_store(check_address(address)).check(writes=True)
                mark = held.enter_context(marked(address))
            yield mark
        return
    nearest = next(path for path in (folder, *folder.parents) if path.is_dir())
    path = nearest / f".seen-{uuid.uuid4().hex}"
    with suppress(OSError):
        path.touch()
    try:
        yield str(path)
    finally:
        with suppress(OSError):
            path.unlink()


def _examine_all(
    cluster: Cluster, folder: Path, address: str
) -> tuple[dict[str, Mapping[str, Any]], list[Node]]:
    """What each machine says, the driver's first; and the nodes that do not answer."""
    with _marked(folder, address) as mark:
        here = examine(address or str(folder), mark)
        if not cluster.address:
            return {HERE: here}, []
        answers = ask_every_node(cluster.nodes, examine, address or str(folder), mark)
    reports: dict[str, Mapping[str, Any]] = {f"{here['host']} (the driver)": here}
    silent = []
    for node, answer in zip(cluster.nodes, answers, strict=True):
        if answer is None:
            silent.append(node)
        else:
            reports[_name(node, cluster)] = {**answer, "skew_s": _measure_skew(node)}
    return reports, silent


def _name(node: Node, cluster: Cluster) -> str:
    """By which a node is told from all others."""
    alike = [other for other in cluster.nodes if other.name == node.name]
    return node.name if len(alike) == 1 else f"{node.name} ({node.address}, {node.node_id[:6]})"


def _measure_skew(node: Node) -> float:
    """Seconds by which a node's clock is ahead of ours; its process is warm by now."""
    before = time.time()
    (there,) = ask_every_node([node], read_clock)
    after = time.time()
    return 0.0 if there is None else there - (before + after) / 2


def _silent(node: Node) -> Finding:
    return Finding(
        level="stop",
        subject="nodes",
        text=f"{node.name}: runs no task of ours",
        mend="see Ray's logs there, below /tmp/ray/session_latest/logs",
    )


def _judge_tracking(uri: str) -> Finding:
    path = store_path(uri)
    try:
        if path is not None and not path.parent.is_dir():
            # Nothing is made for a look.
            places.check_storage(path.parent)
        else:
            check_store(uri)
            reach_store(uri)
    except InfeasibleError as error:
        return Finding(
            level="mend",
            subject="MLflow",
            text=str(error),
            mend="records stay in the storage; the next command writes what is missing",
        )
    return Finding(level="ok", subject="MLflow", text=f"{uri} can be written")


def _judge_data(spec: ExperimentSpec, cluster: Cluster) -> Sequence[Finding]:
    data = spec.keys.data
    if ":" in data.dataset:
        return [
            Finding(level="ok", subject="data", text=f"{data.dataset}: one's own, not read")
        ]
    answers: dict[str, tuple[str, str] | None] = {HERE: examine_data(spec.text)}
    if cluster.address:
        told = ask_every_node(cluster.nodes, examine_data, spec.text)
        pairs = zip(cluster.nodes, told, strict=True)
        answers |= {_name(node, cluster): answer for node, answer in pairs}
    ours, wrong = answers[HERE], []
    for name, answer in answers.items():
        held, error = answer or ("", "it does not answer")
        if error:
            wrong.append(f"{name}: {error}")
        elif ours is not None and held != ours[0]:
            wrong.append(f"{name}: holds other images than {HERE}")
    if wrong:
        mend = "put the same files under the same path on every node"
        return [Finding(level="stop", subject="data", text=text, mend=mend) for text in wrong]
    where = f", the same on {len(answers)} machines" if len(answers) > 1 else ""
    return [Finding(level="ok", subject="data", text=f"{data.root or data.dataset}{where}")]
