"""What a worker loads before it trains."""

import json
import subprocess
import sys
from collections.abc import Mapping

CODE = """
import json, sys
import orchestrator.training.loop
heavy = ["ray", "mlflow", "pydantic", "yaml", "torchvision", "scipy", "pandas", "matplotlib"]
print(json.dumps([name for name in [*heavy, "torch"] if name in sys.modules]))
"""


def test_training_loads_nothing_but_pytorch(child_environment: Mapping[str, str]) -> None:
    """A bare PyTorch machine can train: no Ray, MLflow, pydantic or torchvision."""
    said = subprocess.run(
        [sys.executable, "-c", CODE],
        env=child_environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(said.stdout) == ["torch"]
