"""`orchestrator doctor` on a Ray that runs."""

from pathlib import Path

from tests.journey.conftest import Orchestrate


def test_every_node_is_looked_at(
    orchestrate: Orchestrate, small_spec: str, running_ray: str, storage: Path
) -> None:
    """What is asked here and on the node is compared, the data of an experiment too."""
    said = orchestrate("doctor", small_spec, RAY_ADDRESS=running_ray)

    words = " ".join(said.out.split())
    assert said.status == 0, said.out + said.err
    assert "the same on 2 machines ok GPUs" in words
    assert f"ok storage {storage}: the same on 2 machines, can be written" in words
    assert "ok clocks apart by " in words
    assert "ok data digits, the same on 2 machines" in words
    assert not storage.exists()
