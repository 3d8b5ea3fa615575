"""Image classification experiments from one YAML file: trained by Ray, recorded in MLflow.

The names below load on first use, so that `import orchestrator` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.api import Limits, RunOptions, compare, load_spec, plan, read_record, run
    from orchestrator.errors import OrchestratorError
    from orchestrator.recorded.evaluation import evaluate
    from orchestrator.recorded.features import FeatureOptions, extract_features

__all__ = [
    "FeatureOptions",
    "Limits",
    "OrchestratorError",
    "RunOptions",
    "compare",
    "evaluate",
    "extract_features",
    "load_spec",
    "plan",
    "read_record",
    "run",
]

_HOMES = {
    "FeatureOptions": "orchestrator.recorded.features",
    "OrchestratorError": "orchestrator.errors",
    "evaluate": "orchestrator.recorded.evaluation",
    "extract_features": "orchestrator.recorded.features",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "orchestrator.api")), name)
