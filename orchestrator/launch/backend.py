"""The process group of a lane of several workers, on the GPUs that its plan names.

Ray Train sets up torch's process group before it calls us: by then a worker must see its own
GPUs and no others.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray.train.torch.config import TorchConfig, _TorchBackend

from orchestrator.launch.devices import INDEX_VARIABLE, pin
from orchestrator.launch.jobs import find_node, find_own


@dataclass
class PinnedTorchConfig(TorchConfig):  # type: ignore[misc]  # Ray ships no types
    """torch's process group, and before it the GPUs of every worker."""

    devices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Ray's name of each node to the GPUs of the workers there; empty to leave it to Ray."""

    @property
    def backend_cls(self) -> type:
        """What sets it up."""
        return _PinnedBackend if self.devices else _TorchBackend


class _PinnedBackend(_TorchBackend):  # type: ignore[misc]
    share_cuda_visible_devices = False

    def on_start(self, worker_group: Any, backend_config: PinnedTorchConfig) -> None:  # noqa: ANN401
        # Not by the local rank, which counts the workers of an address: it may have two nodes.
        before: Counter[str] = Counter()
        for rank, node in enumerate(worker_group.execute(find_node)):
            own = find_own(backend_config.devices, node)
            worker_group.execute_single(rank, pin_worker, own, before[node])
            before[node] += 1
        super().on_start(worker_group, backend_config)


def pin_worker(devices: Sequence[str], position: int) -> None:
    """Let this worker see the GPUs of its lane on this node, and keep which is its own."""
    os.environ[INDEX_VARIABLE] = str(pin(devices, position, alone=False))
