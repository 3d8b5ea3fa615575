"""The notice that a machine will be taken away: read on the machine, told to Ray.

Clouds give it at an address that only the machine itself sees, minutes or seconds before. Told
to Ray, the machine drains: nothing new is placed on it, and whoever drives a search moves it.
"""

import os
import threading
import time
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Final

VARIABLE: Final = "ORCHESTRATOR_NOTICE"
"""Where a node's notice appears: an http address, or the path of a file; set before its Ray is
started."""
_EVERY_S: Final = 5.0
_TIMEOUT_S: Final = 2.0
_DEADLINE_S: Final = 120
"""How long Ray is told that the machine stays; nobody kills it then."""
_NONE: Final = ("", "false", "none")
"""What an address says while there is no notice, in lower case."""


def watch_for_notice() -> None:
    """Drain this node once its notice has come, if it has an address to look for one."""
    if source := os.environ.get(VARIABLE, ""):
        watching = threading.Thread(target=_watch, args=(source,), name="notice", daemon=True)
        watching.start()


def read_notice(source: str) -> str:
    """What is said of this machine's end; empty while nothing is.

    Args:
        source: `http://169.254.169.254/latest/meta-data/spot/instance-action` on Amazon EC2,
            `http://metadata.google.internal/computeMetadata/v1/instance/preempted` on Google's;
            or the path of a file that something else writes.
    """
    headers = {"Metadata-Flavor": "Google"}
    try:
        if not source.startswith(("http://", "https://")):
            return Path(source).read_text().strip() or "announced"
        if "/latest/meta-data/" in source:
            # Version 2 of Amazon's answers no one without a token.
            base = source.partition("/latest/")[0]
            asking = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
            token = _fetch(f"{base}/latest/api/token", asking, method="PUT")
            headers = {"X-aws-ec2-metadata-token": token}
        text = _fetch(source, headers)
    except (OSError, ValueError, HTTPException):
        # Not found: there is none. Not answered: asked again.
        return ""
    return "" if text.lower() in _NONE else text


def _fetch(url: str, headers: dict[str, str], *, method: str = "GET") -> str:
    request = urllib.request.Request(url, headers=headers, method=method)
    # The address is this machine's own: no proxy knows it.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=_TIMEOUT_S) as answer:
        text: str = answer.read(4096).decode("utf-8", "replace").strip()
    return text


def _watch(source: str) -> None:
    is_told = False
    while not is_told:
        time.sleep(_EVERY_S)
        if notice := read_notice(source):
            # A Ray that is too busy to be told is told again.
            with suppress(Exception):
                is_told = drain_node(notice)


def drain_node(notice: str) -> bool:
    """Tell Ray that this node will go; one that drains already goes on draining.

    Args:
        notice: Why, for Ray's own records.

    Returns:
        Whether Ray lets it drain.
    """
    import ray
    from ray.core.generated import autoscaler_pb2

    here = ray.get_runtime_context()
    client = ray._raylet.GcsClient(address=here.gcs_address)
    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    deadline_ms = int((time.time() + _DEADLINE_S) * 1000)
    is_accepted, _ = client.drain_node(here.get_node_id(), reason, notice, deadline_ms)
    return bool(is_accepted)


def list_draining() -> set[str]:
    """Ray's names of the nodes that will go."""
    import ray

    return set(ray._private.state.state.get_draining_nodes())
