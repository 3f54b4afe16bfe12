"""The process that reads a foreign file: locked before the first octet, with the file, a pipe, and nothing else.

It is executed afresh by `account import`, gets the file as standard input and the pipe as standard output, and ends
with the file. No address, password or digest of the file is in any other process that parses it.

    python -I -m bulkhead.imports.reader DIALECT SKIP ROOT UID
"""

import os
import sys
from collections.abc import Sequence

from bulkhead.imports.dialects import DialectReader
from bulkhead.imports.fields import Found, account_line
from bulkhead.imports.lines import Line, LineSplitter
from bulkhead.imports.rows import FileEnd, Message, ReaderLock, write_frame
from bulkhead.supervisor.lock import MIB, Lock, LockReport, Outcome
from bulkhead.supervisor.sandbox import lock_down

MODULE = "bulkhead.imports.reader"
CHUNK = 1 << 16
MEMORY_BYTES = 128 * MIB
_FILE, _PIPE, _ERRORS = 0, 1, 2


def main(arguments: Sequence[str]) -> None:
    """Lock, say so, read to the end."""
    dialect, skip, root, uid = arguments[0], int(arguments[1]), arguments[2], int(arguments[3])
    _load_everything()
    user = uid if os.geteuid() == 0 else None
    lock = Lock(
        root=root, keep_fds=frozenset({_FILE, _PIPE, _ERRORS}), uid=user, gid=user, memory_bytes=MEMORY_BYTES,
        open_files=8, threads=1, file_bytes=0,
    )  # fmt: skip
    _send([said_of(lock_down(lock))])
    read_file(dialect, skip)


def read_file(dialect: str, skip: int) -> None:
    """Every account of standard input behind line `skip`, to standard output."""
    splitter, reader = LineSplitter(), DialectReader(dialect, skip)
    last = 0
    while data := os.read(_FILE, CHUNK):
        events: list[Message] = []
        for line in splitter.receive(data):
            events += reader.receive(line)
            last = line.number
        _send(events)
    for line in splitter.end():
        _send(reader.receive(line))
        last = line.number
    _send([*reader.end(), FileEnd(last, reader.dialect)])


def said_of(report: LockReport) -> ReaderLock:
    missing = [step for step in report.steps if step.outcome is Outcome.MISSING]
    applied = tuple(step.mechanism.value for step in report.steps if step.outcome is not Outcome.MISSING)
    return ReaderLock(applied, tuple(f"{step.mechanism.value}: {step.detail}"[:256] for step in missing))


def _send(messages: Sequence[Message]) -> None:
    frames = memoryview(b"".join(map(write_frame, messages)))
    while frames:
        frames = frames[os.write(_PIPE, frames) :]


def _load_everything() -> None:
    """What is imported when it is first used, while it still can be."""
    account_line(Line(1, 1, None), Found("\u00e4@\u00e4.example", "x", clear=True))
    DialectReader().receive(Line(1, 1, b'{"address": "a@b.example", "password": "x"}'))
    DialectReader().receive(Line(1, 1, b'a@b.example,"x"'))


if __name__ == "__main__":
    main(sys.argv[1:])
