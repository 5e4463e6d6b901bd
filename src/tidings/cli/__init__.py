"""The command line: a thin door that prints what the jobs return and tells a mistake in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from tidings.cli import brakes, campaigns, evidence, files, people, results, services
from tidings.errors import TidingsError
from tidings.model.masking import mask_logs

# The class above BadParameter: what the parser raises for a wrong word, wherever typer keeps it.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="tidings",
    help="Behavioral trigger campaigns: the right message, once, and what it truly earned.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "terminal_width": 96},
)
for group in (files, campaigns, brakes, results, evidence, services, people):
    group.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Exit 0: well; 1: problems found; 2: a mistake in the call or in the project's files."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    mask_logs()
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        code = app(given or ["--help"], standalone_mode=False, prog_name="tidings")
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except TidingsError as mistake:
        return _told(str(mistake))
    except _UsageError as wrong:
        return _told(_usage(wrong))
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # The reader went away (`tidings report | head`); Python would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _usage(wrong: Exception) -> str:
    context = getattr(wrong, "ctx", None)
    path = getattr(context, "command_path", "tidings")
    said = " ".join(str(getattr(wrong, "format_message", lambda: wrong)()).split())
    said = said[:1].lower() + said[1:].rstrip(".").replace(". Did you mean", "; did you mean")
    return f"{path}: {said}" if said.endswith("?") else f"{path}: {said}; see `{path} --help`"


def _told(text: str) -> int:
    for line in text.splitlines():
        print(line, file=sys.stderr)
    return 2
