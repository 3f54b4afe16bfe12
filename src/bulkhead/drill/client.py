"""The drill's end of a twin's stream: fork one through a cell's door, give it orders, end it."""

import contextlib
import socket
import time
from typing import Any

from bulkhead.boundary.processes import PROCESSES
from bulkhead.drill.line import Document, LineReader, encode_line
from bulkhead.errors import TemporaryFailure
from bulkhead.supervisor.door import Ask, knock
from bulkhead.supervisor.layout import Layout

START_SECONDS = 30.0  # two cores, two drills and a suite of tests beside them take more than ten
ANSWER_SECONDS = 30.0
POLL_SECONDS = 0.01
RECEIVE_SIZE = 1 << 16


class TwinClient:
    """A running twin of one compartment of one cell; it ends with `close`. Blocks; not for an event loop."""

    def __init__(self, layout: Layout, compartment: str) -> None:
        """Raises TemporaryFailure (`not-running`), Refused in an installation that allows no twins."""
        slot = PROCESSES[compartment].slot
        begin = time.monotonic()
        self.worker, _ = knock(str(layout.socket), Ask.TWIN, slot)
        self.pid, descriptor = self._connect(layout, slot)
        self.seconds = time.monotonic() - begin
        self._stream = socket.socket(fileno=descriptor)
        self._stream.settimeout(ANSWER_SECONDS)
        self._reader = LineReader()
        self._number = 0

    def _connect(self, layout: Layout, slot: int) -> tuple[int, int]:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                pid, descriptor = knock(str(layout.socket), Ask.TWIN_EDGE, slot, self.worker)
            except TemporaryFailure as failure:
                if failure.code == "not-running" or time.monotonic() > deadline:
                    raise TemporaryFailure(
                        f"the twin did not start: {failure.public}; see {layout.log}", code="not-running"
                    ) from None
                time.sleep(POLL_SECONDS)
                continue
            if descriptor is None:
                raise TemporaryFailure("the door gave no stream to the twin", code="not-running")
            return pid, descriptor

    def ask(self, act: str, /, **arguments: Any) -> Document:
        """One act's answer; {"answer": "ended"} when the twin is no more. Raises PeerError on what is no answer."""
        self._number += 1
        try:
            self._stream.sendall(encode_line({"id": self._number, "act": act, "args": arguments}))
            while True:
                document = self._reader.next_document()
                if document is not None and document.get("id") == self._number:
                    return document
                if document is None:
                    data = self._stream.recv(RECEIVE_SIZE)
                    if not data:
                        return {"answer": "ended"}
                    self._reader.receive_data(data)
        except TimeoutError:
            return {"answer": "no-answer"}
        except OSError:
            return {"answer": "ended"}

    def close(self) -> None:
        """End the twin: it does not outlive its stream."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()

    def __enter__(self) -> "TwinClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
