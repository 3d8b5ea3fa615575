"""Image classification experiments from one YAML file: trained by Ray, recorded in MLflow.

The names below load on first use, so that `import orchestrator` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.api import Limits, RunOptions, compare, load_spec, plan, read_record, run
    from orchestrator.errors import OrchestratorError

__all__ = [
    "Limits",
    "OrchestratorError",
    "RunOptions",
    "compare",
    "load_spec",
    "plan",
    "read_record",
    "run",
]

_HOMES = {"OrchestratorError": "orchestrator.errors"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "orchestrator.api")), name)
