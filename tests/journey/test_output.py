"""What becomes of a run when nobody reads, or nothing can be written."""

import re
import resource
import subprocess
import sys
from pathlib import Path

from orchestrator.tracking.history import read_search


def test_a_reader_that_leaves_stops_no_training(
    environment: dict[str, str], small_spec: str, storage: Path
) -> None:
    """As in `orchestrator run … | head -1`."""
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "run", small_spec, "--in-process"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "small#1\n"
        process.stdout.close()
        error = process.stderr.read()

    assert (process.returncode, error) == (0, "")
    assert read_search(storage / "small" / "1").status == "finished"


def test_a_full_disk_is_told_in_one_line(environment: dict[str, str], small_spec: str) -> None:
    """No file may grow beyond a kilobyte, which the plan in the journal would."""
    quick = ["run", small_spec, "--in-process", "--fast-dev-run"]
    done = subprocess.run(
        [sys.executable, "-B", "-m", "orchestrator", *quick],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
    )

    assert done.returncode == 3
    found = re.fullmatch(
        r"cannot write (/.*)/small/1/journal\.jsonl \(No space left on device\); "
        r"what was recorded before is kept\n",
        done.stderr,
    )
    assert found is not None
    assert not Path(found[1]).exists()
