"""Exit codes of every command. Standard library only."""

from enum import IntEnum

from bulkhead.errors import ConfigError, Error, IntegrityError, PeerError, Refused, TemporaryFailure


class ExitCode(IntEnum):
    """What a command's exit status says; the same for all of them."""

    OK = 0
    FINDING = 1
    USAGE = 2
    NOT_RUNNING = 3
    REFUSED = 4
    INTEGRITY = 5
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done, and nothing was found wrong",
    ExitCode.FINDING: "the command ran and found something, or some of its lines failed; standard output says what",
    ExitCode.USAGE: "the command line, a setting or a file is wrong; nothing was done",
    ExitCode.NOT_RUNNING: "the cell, or the compartment asked, is not running or did not answer in time",
    ExitCode.REFUSED: "understood, and no: a rule forbids it",
    ExitCode.INTEGRITY: "bytes do not match their proof; keep the evidence",
    ExitCode.INTERRUPTED: "interrupted from the keyboard",
}

_BY_ERROR: tuple[tuple[type[Error], ExitCode], ...] = (
    (IntegrityError, ExitCode.INTEGRITY),
    (Refused, ExitCode.REFUSED),
    (TemporaryFailure, ExitCode.NOT_RUNNING),
    (ConfigError, ExitCode.USAGE),
    (PeerError, ExitCode.USAGE),
)


def exit_code_of(error: Error) -> ExitCode:
    """The exit status that an error of the tree ends a command with."""
    return next((code for cls, code in _BY_ERROR if isinstance(error, cls)), ExitCode.FINDING)
