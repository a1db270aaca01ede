"""`onnxnull`: the group of commands, and the one place where exit codes leave the program (design §6)."""

from __future__ import annotations

import signal
import sys
import traceback
from importlib import import_module

import click

from onnxnull.errors import ExitCode, OnnxnullError
from onnxnull.version import __version__

_COMMANDS = {
    "analyze": "Kernels of every linear weight, and the paper's metrics.",
    "collide": "Two inputs, one output: build them, run them, keep the evidence.",
    "attack": "Adversarial examples, and others that collide with them.",
    "replay": "Verify an evidence bundle again, from the bundle and the model alone.",
    "check": "The release gate: policy in, verdict out.",
    "baseline": "What `check --baseline` compares with: the models as they are now.",
    "compare": "Do two files hold the same network? Weights, kernels and runs side by side.",
    "prove": "Proofs of all ranks, and their check without the solver.",
    "schema": "JSON Schemas of everything that is written as JSON.",
    "doctor": "What is installed, which providers work, what to do about the rest.",
}
"""Command → its one line in `--help`; the module is imported when the command runs."""


class LazyGroup(click.Group):
    """A group that imports a command's module when it is used, so that `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported."""
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"onnxnull.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="onnxnull")
def group() -> None:
    """What an ONNX model cannot see.

    Exit codes: 0 pass; 1 the gate's policy is violated or a collision did not hold; 2 the analysis failed or is incomplete;
    3 nothing to analyse; 4 usage.
    """


def main() -> None:
    """Run the command line and exit."""
    if hasattr(signal, "SIGPIPE"):  # end quietly when the reader of our output does, `| head` say; click would exit with 1
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        code = group.main(standalone_mode=False)
    except click.UsageError as error:
        error.show()
        code = ExitCode.USAGE
    except click.ClickException as error:
        error.show()
        code = ExitCode.INCOMPLETE
    except OnnxnullError as error:
        click.echo(error, err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = 130  # 128 + SIGINT, as shells count
    except Exception:  # noqa: BLE001 - Python would exit with 1, which is a verdict of the gate
        traceback.print_exc()
        click.echo("this is a bug in onnxnull; please report it with the lines above", err=True)
        code = ExitCode.INCOMPLETE
    sys.exit(int(code or 0))
