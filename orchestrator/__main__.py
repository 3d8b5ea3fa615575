"""`python -m orchestrator`, and the `orchestrator` command."""

import sys


def main() -> None:
    """Run the command line and leave with its exit status."""
    # Nothing is imported before it is needed: `--help` answers at once.
    from orchestrator.cli.main import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
