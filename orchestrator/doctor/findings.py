"""What an examination means: a line each, fine or with what would mend it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from orchestrator.planning.cluster import word_count

Level = Literal["ok", "mend", "stop"]
Reports = Mapping[str, Mapping[str, Any]]
"""Name of each machine to what was looked at there."""

_OPEN_FILES: Final = 4096
_SHM_BYTES: Final = 1 << 30
_DISK_BYTES: Final = 1 << 30
_SKEW_S: Final = 2.0
_GIB: Final = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor's."""

    level: Level
    """`ok`; `mend`, which a run survives; `stop`, which it does not."""
    subject: str
    text: str
    mend: str = ""
    """What to do; empty where all is well."""


def list_findings(reports: Reports, *, folder: str, has_runs: bool) -> list[Finding]:
    """What is to be said of the machines.

    Args:
        reports: What was looked at on each, the asking machine's first.
        folder: The storage.
        has_runs: Whether a search of ours is being trained on them.
    """
    return [
        *_judge_versions(reports),
        *_judge_torch(reports),
        *_judge_gpus(reports),
        *_judge_gpu_memory(reports, has_runs=has_runs),
        *_judge_storage(reports, folder),
        *_judge_limits(reports),
        *_judge_clocks(reports),
    ]


def _judge_versions(reports: Reports) -> Iterator[Finding]:
    first, *others = reports
    ours = reports[first]["versions"]
    differing = [
        f"{name} is {reports[other]['versions'][name] or 'not there'} on {other}, "
        f"{ours[name] or 'not there'} on {first}"
        for name in ours
        for other in others
        if reports[other]["versions"][name] != ours[name]
    ]
    for text in differing:
        yield Finding(
            level="stop",
            subject="versions",
            text=text,
            mend="install the same on every node: pip install -c constraints.txt",
        )
    if not differing:
        words = ", ".join(
            f"{name} {version}"
            for name, version in ours.items()
            if version and name != "our source"
        )
        where = f", the same on {len(reports)} machines" if others else ""
        yield Finding(level="ok", subject="versions", text=f"{words}{where}")


def _judge_torch(reports: Reports) -> Iterator[Finding]:
    for name, report in reports.items():
        error, torch = report["torch"].get("error"), report["torch"]
        if error:
            yield Finding(
                level="stop",
                subject="torch",
                text=f"{name}: cannot be imported ({error})",
                mend="install torch and torchvision of constraints.txt together",
            )
        elif report["gpus"] and report["visible"] != "" and not torch["cuda_available"]:
            kind = f"CUDA {torch['cuda']}" if torch["cuda"] else "CPUs alone"
            count = word_count(len(report["gpus"]), "GPU")
            yield Finding(
                level="stop",
                subject="torch",
                text=f"{name}: cannot use its {count}; it is built for {kind}",
                mend="install a build of torch for this driver, or update the driver",
            )
    built = {
        tuple(report["torch"][key] for key in ("cuda", "cudnn"))
        for report in reports.values()
        if report["torch"].get("cuda_available")
    }
    if len(built) > 1:
        listed = "; ".join(f"CUDA {cuda}, cuDNN {cudnn}" for cuda, cudnn in sorted(built))
        yield Finding(
            level="mend",
            subject="torch",
            text=f"is built with different libraries: {listed}; numbers will differ",
            mend="install the same build on every node",
        )
    elif built:
        ((cuda, cudnn),) = built
        yield Finding(level="ok", subject="torch", text=f"CUDA {cuda}, cuDNN {cudnn}")


def _judge_gpus(reports: Reports) -> Iterator[Finding]:
    for name, report in reports.items():
        gpus = report["gpus"]
        kinds = ", ".join(
            f"{gpu['index']}: {gpu['name']}, {float(gpu['memory.total']) / 1024:.0f} GiB"
            for gpu in gpus
        )
        yield Finding(level="ok", subject="GPUs", text=f"{name}: {kinds or 'none'}")


def _judge_gpu_memory(reports: Reports, *, has_runs: bool) -> Iterator[Finding]:
    held = False
    for name, report in reports.items():
        numbers = {gpu["uuid"]: gpu["index"] for gpu in report["gpus"]}
        for process in report["processes"]:
            if process["is_rays"] and has_runs:
                continue
            held = True
            number = numbers.get(process["gpu_uuid"], process["gpu_uuid"])
            size = f"{process['used_memory']} MiB of GPU {number}"
            whose = "left by a search that has gone" if process["is_rays"] else "not ours"
            yield Finding(
                level="mend",
                subject="GPU memory",
                text=(
                    f"{name}: process {process['pid']} holds {size}, {whose} "
                    f"({process['command'] or 'its command is not seen'})"
                ),
                mend=f"if nobody needs it: kill {process['pid']}",
            )
    if not held and any(report["gpus"] for report in reports.values()):
        yield Finding(level="ok", subject="GPU memory", text="held by no process without a run")


def _judge_storage(reports: Reports, folder: str) -> Iterator[Finding]:
    wrong = False
    for name, report in reports.items():
        storage = report["storage"]
        text, mend = "", "set storage_path or ORCHESTRATOR_STORAGE to another folder"
        if not storage["sees_mark"]:
            text = f"{name}: does not see what is written to {folder} on {next(iter(reports))}"
            mend = (
                "set storage_path or ORCHESTRATOR_STORAGE to a folder that all nodes share, or "
                "to s3://BUCKET/NAME"
            )
        elif storage["error"] and storage["free"] is None:
            text = f"{name}: {storage['error'].removeprefix('storage_path: ')}"
        elif storage["error"]:
            text = f"{name}: cannot write to {folder} ({storage['error']})"
        elif storage["free"] is not None and storage["free"] < _DISK_BYTES:
            text = f"{name}: {folder} has {storage['free'] / _GIB:.1f} GiB left"
        if text:
            wrong = True
            yield Finding(level="stop", subject="storage", text=text, mend=mend)
    if not wrong:
        free = [report["storage"]["free"] for report in reports.values()]
        room = "" if None in free else f", {min(free) / _GIB:,.0f} GiB free"
        shared = f"the same on {len(reports)} machines, " if len(reports) > 1 else ""
        text = f"{folder}: {shared}can be written{room}"
        yield Finding(level="ok", subject="storage", text=text)


def _judge_limits(reports: Reports) -> Iterator[Finding]:
    wrong = False
    for name, report in reports.items():
        files, free = report["open_files"], report["shm_free"]
        # -1 stands for no limit at all.
        if 0 <= files < _OPEN_FILES:
            wrong = True
            yield Finding(
                level="mend",
                subject="limits",
                text=f"{name}: a process may have {files:,} files open",
                mend=f"ulimit -n {1 << 16} before Ray is started there",
            )
        if free is not None and free < _SHM_BYTES:
            wrong = True
            yield Finding(
                level="mend",
                subject="limits",
                text=f"{name}: {free / _GIB:.2f} GiB of shared memory are free",
                mend="give a container more with --shm-size=8g; data.loader_workers need it",
            )
    if not wrong:
        files = min(report["open_files"] for report in reports.values())
        text = f"{files:,} open files" if files >= 0 else "any number of open files"
        free = [r["shm_free"] for r in reports.values() if r["shm_free"] is not None]
        if free:
            text += f", {min(free) / _GIB:.1f} GiB of shared memory"
        yield Finding(level="ok", subject="limits", text=text)


def _judge_clocks(reports: Reports) -> Iterator[Finding]:
    skews = {name: report["skew_s"] for name, report in reports.items() if "skew_s" in report}
    for name, skew in skews.items():
        if abs(skew) > _SKEW_S:
            yield Finding(
                level="mend",
                subject="clocks",
                text=f"{name}: is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}",
                mend="let chrony or systemd-timesyncd set it",
            )
    if skews and all(abs(skew) <= _SKEW_S for skew in skews.values()):
        text = f"apart by {max(map(abs, skews.values())):.1f} s at most"
        yield Finding(level="ok", subject="clocks", text=text)


def worst(findings: Sequence[Finding]) -> Level:
    """The level of the worst finding."""
    levels: tuple[Level, ...] = ("stop", "mend", "ok")
    return next(level for level in levels if any(one.level == level for one in findings))
