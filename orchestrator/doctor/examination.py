"""What is looked at on one machine, as plain values: here, and on every node of a cluster."""

import os
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from orchestrator.errors import OrchestratorError
from orchestrator.inputs import read_data
from orchestrator.launch.everywhere import try_store
from orchestrator.planning.fingerprint import describe_environment
from orchestrator.specs.addresses import is_address
from orchestrator.specs.load import load_spec
from orchestrator.tracking.facts import describe_software

_SHM: Final = Path("/dev/shm")
_GPU_FIELDS: Final = "index,name,uuid,memory.total,memory.used"
_PROCESS_FIELDS: Final = "pid,gpu_uuid,used_memory"
_WORKER: Final = b"ray::"
"""How the command line of a process of Ray's begins."""
_BROKER: Final = b"ray::Broker"


def examine(folder: str, mark: str) -> dict[str, Any]:
    """Look at the machine on which this is called.

    Args:
        folder: The storage, an absolute path or an address.
        mark: A file that the asking machine has put into it: its name in an object store; else
            its absolute path, in the storage or the nearest folder above it that is there.
    """
    software = describe_software()
    versions = {
        name: software.get(name, "")
        for name in ("python", "orchestrator", "ray", "torch", "torchvision", "numpy")
    }
    return {
        "host": socket.gethostname(),
        "versions": {**versions, "our source": describe_environment()["source"][:12]},
        "torch": _examine_torch(),
        "gpus": _ask_nvidia("--query-gpu", _GPU_FIELDS),
        "processes": [
            {**process, **_describe_process(process["pid"])}
            for process in _ask_nvidia("--query-compute-apps", _PROCESS_FIELDS)
        ],
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "storage": _examine_storage(folder, mark),
        "shm_free": shutil.disk_usage(_SHM).free if _SHM.is_dir() else None,
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "has_broker": _has_broker(),
    }


def examine_data(text: str) -> tuple[str, str]:
    """Look at the data set of an experiment.

    Args:
        text: The experiment as YAML, its paths absolute.

    Returns:
        What it holds here, for comparison; and what is wrong with it, or nothing.
    """
    spec = load_spec(yaml.safe_load(text))
    try:
        return repr(read_data(spec.keys.data, "")), ""
    except OrchestratorError as error:
        return "", str(error)


def read_clock() -> float:
    """Seconds since the epoch, as this machine has it."""
    return time.time()


def _examine_torch() -> dict[str, Any]:
    """What torch makes of the machine; imported, since only that tells."""
    try:
        from orchestrator.training.context import describe_build

        return describe_build()
    # Whatever a broken installation raises is what is wrong with it.
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def _ask_nvidia(query: str, fields: str) -> list[dict[str, str]]:
    """A table of nvidia-smi; empty where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    said = subprocess.run(
        [program, f"{query}={fields}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode:
        return []
    names = fields.split(",")
    rows = [[cell.strip() for cell in line.split(",")] for line in said.stdout.splitlines()]
    return [dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names)]


def _has_broker() -> bool:
    """Whether a search of ours is driven from this machine, by whomever."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(_BROKER):
                return True
        except OSError:
            continue
    return False


def _describe_process(pid: str) -> Mapping[str, Any]:
    """The command of a process, and whether Ray started it; empty where it is gone."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return {"command": "", "is_rays": False}
    text = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return {"command": text[:80], "is_rays": command.startswith(_WORKER)}


def _examine_storage(folder: str, mark: str) -> dict[str, Any]:
    if is_address(folder):
        error = try_store(folder, mark)
        return {"sees_mark": True, "error": error, "free": None}
    return _examine_folder(Path(folder), Path(mark))


def _examine_folder(folder: Path, mark: Path) -> dict[str, Any]:
    nearest = next(path for path in (folder, *folder.parents) if path.is_dir())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            error = ""
    except OSError as failure:
        error = failure.strerror or str(failure)
    return {
        "sees_mark": mark.is_file(),
        "error": error,
        "free": shutil.disk_usage(nearest).free,
    }
