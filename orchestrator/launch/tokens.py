"""What a node says of its GPUs when its Ray starts: a token for each, and its UUID.

Ray alone counts GPUs and cannot be asked for a certain one. `cluster.yaml` calls this program:

    ray start --resources="$(python -m orchestrator.launch.tokens)" \
              --labels="$(python -m orchestrator.launch.tokens --labels)" ...

so that a node with two GPUs declares the resources `gpu_0` and `gpu_1`, one of each, and the
labels `gpu_0=GPU-...` and `gpu_1=GPU-...`. A node without a GPU declares none.
"""

import json
import sys
from collections.abc import Sequence

from orchestrator.launch.devices import find_here, token


def main(arguments: Sequence[str]) -> None:
    """Print the tokens as `ray start` reads resources, or under `--labels` the labels."""
    # Parts of a GPU have no number.
    gpus = [device for device in find_here() if device.index.isdecimal()]
    if "--labels" in arguments:
        text = ",".join(f"{token(device.index)}={device.uuid}" for device in gpus)
    else:
        text = json.dumps({token(device.index): 1 for device in gpus})
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
