"""Slurm's own two commands, as `slurm.sbatch` calls them, and the environment of a job."""

from collections.abc import Sequence
from pathlib import Path

SRUN = """#!/bin/bash
# A step of the job: on this machine, or over SSH on the one that is named, with all variables.
while [[ $1 == --* ]]; do
  [[ $1 == --nodelist=* ]] && node=${1#*=}
  shift
done
[[ $node == "$(uname -n)" ]] && exec "$@"
reach() { ssh -o StrictHostKeyChecking=no -o LogLevel=ERROR "$node" "$@"; }
process=$(mktemp -p .)
{
  export -p
  printf 'cd %q && echo $$ >%q && exec' "$PWD" "$process"
  printf ' %q' "$@"
  echo ' </dev/null'
} | reach bash &
step=$!
# As Slurm does, a signal is passed on, and the end of the step is the end of `srun`.
trap 'reach kill -TERM "$(<"$process")"' TERM
wait "$step"
while kill -0 "$step" 2>/dev/null; do wait "$step"; done
"""
SCONTROL = """#!/bin/bash
case "$1" in
show) tr ',' '\\n' <<<"$3" ;;
requeue) echo "$2" >>"$REQUEUED" ;;
esac
"""


def write_commands(folder: Path) -> None:
    """Write both programs into a new folder."""
    folder.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def describe_job(number: int, nodes: Sequence[str], *, cpus: int) -> dict[str, str]:
    """The variables of a job.

    Args:
        number: Its id.
        nodes: Names of its nodes; it runs on the first.
        cpus: Of each of its tasks.
    """
    return {
        "SLURM_JOB_ID": str(number),
        "SLURM_NNODES": str(len(nodes)),
        "SLURM_JOB_NODELIST": ",".join(nodes),
        "SLURM_CPUS_PER_TASK": str(cpus),
    }
