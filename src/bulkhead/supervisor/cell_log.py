"""The cell's log: what images and compartments write reaches the file through a pipe to the supervisor.

So no compartment holds the file, which it could cut, or fill the disk with; each line gets its time here, and control
characters and line ends within a line are shown, not obeyed (log_lines.py). Standard library only.
"""

import asyncio
import logging
import os
import time
from pathlib import Path

from bulkhead.supervisor.log_lines import json_line, shown, text_line
from bulkhead.supervisor.restart import Allowance

LINE_MAX = 2000  # bytes of one line; the rest is cut
BYTES_PER_MINUTE = 1 << 20  # of one image
_READ_SIZE = 1 << 16


class CellLog:
    """An append-only file, and one pipe for each image. json: whether lines are objects, from the next one on."""

    def __init__(self, path: Path, tenant: str = "", *, json: bool = False) -> None:
        self._tenant, self.json = tenant, json
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._pipes: dict[int, tuple[str, bytearray, Allowance]] = {}

    def pipe(self, name: str) -> int:
        """The writing end of a fresh pipe, for a child's standard error; the caller closes its own copy."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read_end, False)
        self._pipes[read_end] = (name, bytearray(), Allowance(BYTES_PER_MINUTE))
        asyncio.get_running_loop().add_reader(read_end, self._on_readable, read_end)
        return write_end

    def close(self) -> None:
        """Take in what was written, then close."""
        for read_end in list(self._pipes):
            self._on_readable(read_end)
        for read_end in list(self._pipes):
            self._end(read_end)
        os.close(self._file)

    def _on_readable(self, read_end: int) -> None:
        name, rest, allowance = self._pipes[read_end]
        try:
            data = os.read(read_end, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(read_end)
            return
        if not allowance.spend(time.monotonic(), len(data)):
            rest.clear()
            return  # a flood: dropped; what stands before it tells of its beginning
        rest += data
        *lines, last = rest.split(b"\n")
        self._write(name, lines)
        del rest[:]
        rest += last[:LINE_MAX]

    def _end(self, read_end: int) -> None:
        name, rest, _ = self._pipes.pop(read_end)
        asyncio.get_running_loop().remove_reader(read_end)
        os.close(read_end)
        if rest:
            self._write(name, [rest])

    def _write(self, name: str, lines: list[bytearray]) -> None:
        now, cut = time.time(), [bytes(line[:LINE_MAX]) for line in lines]
        if self.json:
            text = "".join(json_line(self._tenant, name, line, now) for line in cut)
        else:
            text = "".join(text_line(name, line, now) for line in cut)
        try:
            os.write(self._file, text.encode())
        except OSError as error:
            logging.getLogger("bulkhead.cell").error("the cell's log cannot be written: %s", error.strerror)


class PlainFormatter(logging.Formatter):
    """One record, one line; an exception as its type and places, without its text, which may hold a value."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        parts = [f"{self._prefix} {record.levelname} {record.getMessage()}"]
        error = record.exc_info[1] if record.exc_info else None
        while error is not None and len(parts) < 40:
            parts.append(type(error).__name__)
            trace = error.__traceback__
            while trace is not None:
                parts.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
                trace = trace.tb_next
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return shown(" < ".join(parts))


def log_plainly(prefix: str) -> None:
    """Send this process's log records to standard error, each on one line after `prefix`."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter(prefix))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
