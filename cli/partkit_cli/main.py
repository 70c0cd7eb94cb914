"""The ``partkit`` command: wiring only."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from partkit.errors import MachineError, PartkitError
from partkit.ranks.launch import started_by_launcher
from partkit.ranks.slurm import adopt_slurm
from partkit_cli.commands.advise import advise
from partkit_cli.commands.cluster import cluster
from partkit_cli.commands.compare import compare
from partkit_cli.commands.diff import diff
from partkit_cli.commands.doctor import doctor
from partkit_cli.commands.export import export
from partkit_cli.commands.generate import generate
from partkit_cli.commands.help import help_
from partkit_cli.commands.import_ import import_
from partkit_cli.commands.models import models
from partkit_cli.commands.plan import plan
from partkit_cli.commands.profile import profile
from partkit_cli.commands.report import report
from partkit_cli.commands.run import run
from partkit_cli.commands.show import show
from partkit_cli.commands.simulate import simulate
from partkit_cli.commands.validate import validate
from partkit_cli.failure import StdoutLostError
from partkit_cli.help_text import width_of_help, write_records, write_words_and_examples
from partkit_cli.output import Output
from partkit_cli.registration import register
from partkit_cli.signals import ending_in_order
from partkit_cli.streams import open_closed_streams

_WHOLE = 200
"""Letters that no command's first sentence has."""


class PartkitGroup(TyperGroup):
    """All commands; what ends one before it begins, while options are read and help is printed, is told as later."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the options before the command."""
        with _told_as_later():
            return super().make_context(*args, **{"terminal_width": width_of_help(), **kwargs})

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what partkit does, and what to start with."""
        del ctx
        write_words_and_examples(self.help or "", formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command's first sentence whole."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        records = [(name, command.get_short_help_str(_WHOLE)) for name, command in commands if command is not None]
        with formatter.section("Commands"):
            write_records(records, formatter)

    def invoke(self, ctx: Any) -> Any:
        """Read the command's options and run it."""
        with _told_as_later():
            return super().invoke(ctx)


@contextmanager
def _told_as_later() -> Iterator[None]:
    """typer ends both silently, with codes of its own; whatever a command itself raises does not come here."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise typer.Abort from error
    except OSError as error:
        raise StdoutLostError(error) from error


app = typer.Typer(
    cls=PartkitGroup,
    name="partkit",
    rich_markup_mode=None,  # plain help: quicker, and the same in a pipe
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
COMMANDS = (
    *(profile, plan, simulate, run, compare, generate),
    *(report, show, diff, validate, export, import_),
    *(advise, doctor, cluster, models, help_),
)
for command in COMMANDS:
    register(app, command)


@app.callback(invoke_without_command=True)
def _partkit(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Split a PyTorch model over several devices: profile, plan with a proved bound, run, compare.

    \b
    Start with:
      partkit plan bert --stages 2
      partkit run plans/bert2.json
      partkit compare plans/bert2.json
    """
    if version:
        Output().text(f"partkit {_version()}")
    elif context.invoked_subcommand is None:
        Output().text(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with ``arguments`` (default: the process's own) and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    adopt_slurm()
    with ending_in_order(for_good=arguments is None) if not started_by_launcher() else nullcontext():
        code = _run(given)
    sys.exit(code)


def _run(given: Sequence[str]) -> int:
    output = Output(as_json="--json" in given)
    try:
        if "stdout" in open_closed_streams() and output.as_json:
            raise MachineError(
                "standard output is closed, and --json prints a document there", hint="send it to a file with > FILE"
            )
        code = app(args=list(given), prog_name="partkit", standalone_mode=False)
    except typer.TyperException as error:
        code = output.usage_error(error)
    except typer.Abort as error:
        code = output.failure(error.__cause__ or KeyboardInterrupt())
    except (PartkitError, StdoutLostError, KeyboardInterrupt) as error:
        code = output.failure(error)
    return code or 0


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("partkit")
    except PackageNotFoundError:
        return "(run from its source folder)"
