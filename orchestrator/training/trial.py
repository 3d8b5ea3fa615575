"""One assignment trained in a process of its own, on bare PyTorch: `python -m ….trial JSON`.

What a lane, a loop within the user's own process and a restart are held against: nothing was
trained in the process before. The environment is the parent's affair.
"""

import json
import sys
from typing import Any

import torch

from orchestrator.planning.run_plan import Assignment
from orchestrator.training.context import Verdict, WorkerContext, configure_process
from orchestrator.training.loop import train


def describe_trial(assignment: Assignment, *, stop_after: int | None = None) -> str:
    """The argument of this program.

    Args:
        assignment: What to train, with one worker.
        stop_after: Steps after which a stop is requested; None for never.
    """
    return json.dumps({"assignment": assignment.to_json(), "stop_after": stop_after})


def main() -> None:
    """Train what the first argument says."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    assignment = Assignment.from_json(job["assignment"])
    numbers = assignment.plan.numbers
    cuda = numbers.device == "cuda"
    device = torch.device("cuda", 0) if cuda else torch.device("cpu")
    configure_process(
        threads=numbers.threads, deterministic=numbers.deterministic, device=device
    )
    left = job["stop_after"]

    def stop_requested() -> bool:
        nonlocal left
        left = None if left is None else left - 1
        return left == 0

    def report(epoch: int, metrics: Any) -> Verdict:  # noqa: ANN401, ARG001
        return "continue"

    context = WorkerContext(
        rank=0, world_size=1, device=device, report=report, stop_requested=stop_requested
    )
    result = train(assignment, context)
    result.remove_spent()
    print(json.dumps({"status": result.status, "weights": result.weights_sha256}))  # noqa: T201


if __name__ == "__main__":
    main()
