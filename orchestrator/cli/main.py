"""The command line: one file per command, one place where errors become exit statuses."""

import sys
from difflib import get_close_matches
from importlib import import_module

import click

from orchestrator.errors import INTERRUPTED, OrchestratorError

_COMMANDS = (
    "init",
    "check-data",
    "fetch",
    "run",
    "resume",
    "rerun",
    "plan",
    "validate",
    "summary",
    "compare",
    "verify",
    "evaluate",
    "features",
    "ui",
    "doctor",
    "digest",
    "schema",
)
_LISTED = ", ".join(_COMMANDS)


class _LazyGroup(click.Group):
    """Imports a command's file when it is asked for: `--help` and `validate` stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(_module(cmd_name)).command
        # Click's mark of lines that are not to be wrapped, as raw docstrings have it.
        command.help = (command.help or "").replace("\\b\n", "\b\n")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            near = get_close_matches(name.lower(), _COMMANDS, n=1)
            advice = f"Did you mean {near[0]!r}?" if near else f"There are {_LISTED}."
            ctx.fail(f"No such command {name!r}. {advice}")
        return super().resolve_command(ctx, args)


def _module(cmd_name: str) -> str:
    return f"orchestrator.cli.{cmd_name.replace('-', '_')}"


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: orchestrator run experiments/digits-label-smoothing.yaml",
)
@click.version_option(package_name="orchestrator")
def group() -> None:
    """Image classification experiments from one YAML file.

    A file describes an experiment; `plan` shows what it would do, `run` trains it with Ray and
    records it in MLflow, `compare` tells what it means, with intervals.

    Exit status: 0 done, 2 the file or the command is wrong, 3 the machines cannot do it, 4 all
    runs failed, 5 some runs failed, 6 numbers that should be the same are not, 75 stopped by
    SIGTERM or SIGUSR1 and to be run again, 130 interrupted.
    """


def run_command_line(arguments: list[str]) -> int:
    """Run one command.

    Returns:
        Its exit status. What the user can mend is printed on standard error, one line each.
    """
    try:
        status = group.main(arguments, prog_name="orchestrator", standalone_mode=False)
    except OrchestratorError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return status if isinstance(status, int) else 0
