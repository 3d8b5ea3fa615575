"""Join or start Ray, and what its machines offer as plain numbers."""

import logging
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from orchestrator.errors import InfeasibleError
from orchestrator.launch.authentication import refuse_open_ray
from orchestrator.launch.devices import find_here, leave_visible, read_tokens
from orchestrator.launch.environment import ADDRESS
from orchestrator.launch.growth import find_growth
from orchestrator.launch.notice import list_draining
from orchestrator.launch.processes import kill_naming
from orchestrator.launch.temporary import make_temporary_folder
from orchestrator.planning.cluster import Cluster, Node, word_count

REHEARSAL_VARIABLE = "ORCHESTRATOR_DEVICE"
"""Set to `cpu`, what is planned for GPUs is computed on CPUs, to try its placement."""
_KNOCK_S = 10.0


def look() -> Cluster:
    """What the machines offer: the running cluster, or this machine with nothing started.

    Raises:
        InfeasibleError: RAY_ADDRESS is set and no Ray answers there, or one without tokens.
    """
    address = os.environ.get(ADDRESS, "")
    rehearses = os.environ.get(REHEARSAL_VARIABLE, "") == "cpu"
    if not address:
        devices, lost = find_here(), ""
        if devices and not rehearses and _torch_version().endswith("+cpu"):
            count = word_count(len(devices), "GPU")
            devices, lost = (), f"its {count} not used: torch is a CPU build"
        here = Node(name="here", cpus=_count_cpus(), gpus=len(devices), devices=devices)
        return Cluster(nodes=(here,), lost_gpus=lost, rehearses=rehearses)
    _join(address)
    import ray

    from orchestrator.launch.reservation import read_holders

    holders = read_holders()
    leaving = list_draining()
    nodes = [
        _read_node(node, holders)
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in leaving
    ]
    return Cluster(
        nodes=tuple(nodes),
        growth=find_growth(len(nodes)),
        address=address,
        rehearses=rehearses,
    )


def _read_node(node: Mapping[str, Any], holders: Mapping[str, Mapping[str, str]]) -> Node:
    resources, labels = node["Resources"], node.get("Labels", {})
    return Node(
        name=node["NodeManagerHostname"],
        cpus=int(resources.get("CPU", 0)),
        gpus=int(resources.get("GPU", 0)),
        node_id=node["NodeID"],
        address=node["NodeManagerAddress"],
        devices=read_tokens(resources, labels, holders.get(node["NodeID"], {})),
        labels=tuple(labels.items()),
    )


@contextmanager
def running_ray(cluster: Cluster, *, devices: Sequence[str], logs: Path) -> Iterator[None]:
    """Ray, for as long as the block lasts.

    Started here, it ends with the block, its log files are kept in `logs`, and nothing else of
    it is left; a cluster that was joined goes on.

    Args:
        cluster: What `look` said.
        devices: The GPUs that a Ray that is started here shall see.
        logs: Folder for the log files of a Ray that is started here.
    """
    import ray

    if cluster.address:
        try:
            yield
        finally:
            ray.shutdown()
        return
    if ray.is_initialized():
        raise InfeasibleError(
            f"Ray runs in this process already; call ray.shutdown() first, or set "
            f"{ADDRESS} to join it"
        )
    temporary = make_temporary_folder()
    try:
        with leave_visible(devices):
            _start(cluster, len(devices), temporary)
        yield
    finally:
        try:
            ray.shutdown()
        finally:
            # Processes that had only begun to start when Ray ended are not known to it.
            kill_naming(str(temporary))
            keep_logs(temporary, logs)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Put SIGTERM's handler back, which Ray replaces while it starts."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)


@_own_sigterm()
def _start(cluster: Cluster, gpus: int, temporary: Path) -> None:
    import ray

    try:
        ray.init(
            address="local",
            num_cpus=cluster.cpus,
            num_gpus=gpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
            _temp_dir=str(temporary),
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise InfeasibleError(f"Ray does not start on this machine: {error}") from error


def keep_logs(temporary: Path, logs: Path) -> None:
    """Move the log files of a Ray that has ended to their place, and remove its folder."""
    for session in temporary.glob("session_2*"):
        if not session.is_symlink() and (session / "logs").is_dir():
            shutil.copytree(session / "logs", logs, dirs_exist_ok=True, symlinks=True)
    shutil.rmtree(temporary, ignore_errors=True)


@_own_sigterm()
def _join(address: str) -> None:
    import ray

    if ray.is_initialized():
        return
    package = Path(__file__).parents[1]
    try:
        _check_address(address)
        # Workers run the code of this process, not what happens to be installed there; nor what
        # lies there in a folder called like our current one, which Ray would let them look into
        # first.
        with chdir("/"):
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"py_modules": [str(package)]},
            )
    # RuntimeError: another version of Ray or Python there; RayError: a wrong token.
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise InfeasibleError(
            f"{ADDRESS}: no Ray answers at {address} "
            f"({str(error).splitlines()[0]}); `{ADDRESS}=` starts one on this machine"
        ) from error
    refuse_open_ray(ray.get_runtime_context().gcs_address)


def _check_address(address: str) -> None:
    """Knock first: where nobody listens, Ray ends this process without an exception.

    Raises:
        OSError: Nobody listens there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()


def _count_cpus() -> int:
    cpus = len(os.sched_getaffinity(0))
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists():
        limit, period = quota.read_text().split()
        if limit != "max":
            cpus = min(cpus, max(1, int(limit) // int(period)))
    return cpus


def _torch_version() -> str:
    """Without importing it."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""
