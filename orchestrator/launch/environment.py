"""Ray's own settings that must stand before it is imported."""

import os
from pathlib import Path
from typing import Final

_SETTINGS: Final = {
    # Ray's progress tables would fight with ours for the terminal.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # Ctrl-C is ours: it stops runs, not Ray.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The end of a job, or a death in it, is noticed within this many seconds.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    "RAY_TRAIN_COLLECTIVE_WARN_INTERVAL_S": "3600",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # We watch for it ourselves; Ray Train's watcher would be one more process for each job.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # A loaded machine starts slowly; Ray's default gives up after 30 s.
    "RAY_raylet_start_wait_time_s": "180",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
WORKER_SETTINGS: Final = {
    # Threads that spin while they wait take the other lanes' cores.
    "OMP_WAIT_POLICY": "passive",
    # CUDA counts GPUs as nvidia-smi does, not by their speed.
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    # Without it cuBLAS has no deterministic form; it is read when CUDA starts.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
"""What lanes need before torch is imported."""
ADDRESS: Final = "RAY_ADDRESS"
_TOKEN: Final = Path("~/.ray/auth_token")
HEAD_FILE: Final = Path("~/ray_bootstrap_config.yaml")
"""What `ray up` leaves on a cluster's head: the cluster's file."""


def is_head() -> bool:
    """Whether this machine is the head of a cluster that `ray up` has made."""
    return HEAD_FILE.expanduser().is_file()


def prepare_environment() -> None:
    """Set what is not set; the user's own choice stays.

    The head of a cluster joins its Ray: it is no place to train on by itself.
    """
    if is_head():
        os.environ.setdefault(ADDRESS, "auto")
    here = _joining() if os.environ.get(ADDRESS) else {}
    for name, value in {**_SETTINGS, **WORKER_SETTINGS, **here}.items():
        os.environ.setdefault(name, value)


def _joining() -> dict[str, str]:
    # Ray makes a token for every cluster, and looks for it only where it is told to.
    return {"RAY_AUTH_MODE": "token"} if _TOKEN.expanduser().exists() else {}
