"""`bulkhead`: finds the command's row, loads its module alone, and turns every error into one line and a status.

Standard library only up to the dispatch: `run` and `cell run` never load more than the supervisor.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from bulkhead.cli.exit_codes import ExitCode, exit_code_of
from bulkhead.cli.tree import Command, build_parser
from bulkhead.errors import Error

TRACE_VARIABLE = "BULKHEAD_TRACE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    try:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text stream of ours
        options = build_parser().parse_args(arguments)
        command: Command = options.command
        module, _, function = command.runs.partition(":")
        status = getattr(importlib.import_module(module), function)(options)
        sys.stdout.flush()
    except Error as error:
        return _fail(error.public, exit_code_of(error))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader has gone, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", ExitCode.USAGE)
    except Exception as error:
        if os.environ.get(TRACE_VARIABLE):
            traceback.print_exc()
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return _fail(
            f"a fault of ours, {type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}; "
            f"set {TRACE_VARIABLE}=1 and report what it prints",
            ExitCode.FINDING,
        )
    return int(status)


def _fail(text: str, code: ExitCode) -> int:
    for line in text.splitlines() or [""]:
        print(f"bulkhead: {''.join(c if c.isprintable() else '?' for c in line)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
