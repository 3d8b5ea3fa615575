"""Experiments and machines as small as a claim allows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.planning.cluster import Cluster, Node
from orchestrator.planning.facts import Inputs, known_facts
from orchestrator.planning.resolve import resolve_search
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.load import load_spec

TWO_CPUS = Cluster(nodes=(Node(name="here", cpus=2, gpus=0),))


def _make_spec(**sections: Any) -> ExperimentSpec:
    values: dict[str, Any] = {
        "name": "demo",
        "data": {"dataset": "digits"},
        "model": {"architecture": "small_cnn"},
        "training": {"epochs": 3},
    }
    for key, value in sections.items():
        old = values.get(key)
        values[key] = {**old, **value} if isinstance(old, dict) else value
    return load_spec(values)


@pytest.fixture
def make_spec() -> Callable[..., ExperimentSpec]:
    """Builds a spec; a section's keys are merged into the smallest experiment there is."""
    return _make_spec


@pytest.fixture
def make_plan() -> Callable[..., SearchPlan]:
    """Resolves a spec for two CPUs, or for `cluster`; `limits` are the command line's."""

    def make(
        *,
        cluster: Cluster = TWO_CPUS,
        number: int = 3,
        limits: Any = None,
        inputs: Inputs | None = None,
        **sections: Any,
    ) -> SearchPlan:
        given = {"limits": limits} if limits else {}
        spec = _make_spec(**sections)
        facts = known_facts(spec.keys.data)
        assert facts is not None
        return resolve_search(
            spec,
            cluster,
            storage=Path("/data/runs"),
            number=number,
            inputs=inputs or Inputs(data=facts),
            **given,
        )

    return make
