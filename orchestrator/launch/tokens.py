"""What a node says of its GPUs when its Ray starts: a token for each, and its UUID.

Ray alone counts GPUs and cannot be asked for a certain one. `cluster.yaml` calls this program:

    ray start --resources="$(python -m orchestrator.launch.tokens)" \
              --labels="$(python -m orchestrator.launch.tokens --labels)" ...

so that a node with two GPUs declares the resources `gpu_0` and `gpu_1`, one of each, and the
labels `gpu_0=GPU-...` and `gpu_1=GPU-...`. A node without a GPU declares none.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

_LINE: Final = re.compile(r"^GPU (\d+): .*\(UUID: (\S+)\)", re.MULTILINE)


def list_gpus() -> dict[int, str]:
    """Index of each GPU that Ray may use here, as nvidia-smi counts, to its UUID."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    listing = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    present = {int(index): uuid for index, uuid in _LINE.findall(listing.stdout)}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return present if visible is None else _choose(present, visible.split(","))


def _choose(present: Mapping[int, str], named: Sequence[str]) -> dict[int, str]:
    """Those that CUDA would see: what follows an entry that names none of them is hidden."""
    chosen = {}
    for entry in map(str.strip, named):
        found = [
            index
            for index, uuid in present.items()
            if entry == str(index) or (entry.startswith("GPU-") and uuid.startswith(entry))
        ]
        if len(found) != 1:
            break
        chosen[found[0]] = present[found[0]]
    return chosen


def main(arguments: Sequence[str]) -> None:
    """Print the tokens as `ray start` reads resources, or under `--labels` the labels."""
    gpus = list_gpus()
    if "--labels" in arguments:
        text = ",".join(f"gpu_{index}={uuid}" for index, uuid in gpus.items())
    else:
        text = json.dumps({f"gpu_{index}": 1 for index in gpus})
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
