"""The command line's door to a running cell: a unix socket that only the starting user (and root) may open.

The supervisor answers fixed requests and hands out ends of edges; what crosses those it neither sees nor parses.
Standard library only.
"""

import asyncio
import contextlib
import errno
import json
import os
import socket
import struct
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

from bulkhead.errors import ConfigError, Refused, TemporaryFailure
from bulkhead.supervisor.memfd import read_sealed_memfd, sealed_memfd

CLIENTS_MAX = 64
STATUS_MAX = 4 << 20
_REQUEST = struct.Struct("<BBH")  # op, slot, worker
_REPLY = struct.Struct("<BI200s")  # 0: done, 1: refused, 2: not now; a number; why
_CREDENTIALS = struct.Struct("3i")


class Ask(IntEnum):
    """What the door is asked."""

    STATUS = 1  # the answer comes as a sealed memory file of JSON
    EDGE = 2  # one end of an edge to the compartment of that slot
    RELOAD = 3
    STOP = 4
    TWIN = 5  # fork a twin of that compartment for the drill, where the installation allows it
    TWIN_EDGE = 6  # a stream to a twin, by worker
    EVICT = 7  # end every process of that compartment, which are then begun afresh; the number says how many
    EVICT_WORKER = 8  # end that worker of it alone


Answer = tuple[int, socket.socket | bytes | None]


class Door:
    """Serves the socket; `answer(ask, slot, worker)` gives a number and what goes along, or raises an Error."""

    def __init__(self, path: str, answer: Callable[[Ask, int, int], Answer]) -> None:
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        old = os.umask(0o177)
        try:
            self._listener.bind(path)
        finally:
            os.umask(old)
        self._path = path
        self._listener.listen(CLIENTS_MAX)
        self._listener.setblocking(False)
        self._clients: set[socket.socket] = set()
        self._listen()

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}:  # it would fire for ever
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(0.5, self._listen)
            return
        _, uid, _ = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid not in {0, os.geteuid()} or len(self._clients) >= CLIENTS_MAX:
            client.close()
            return
        client.setblocking(False)
        self._clients.add(client)
        self._loop.add_reader(client.fileno(), self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            request = client.recv(_REQUEST.size + 1)
        except BlockingIOError:
            return
        except OSError:
            request = b""
        if len(request) != _REQUEST.size:
            self._loop.remove_reader(client.fileno())
            self._clients.discard(client)
            client.close()
            return
        ask, slot, worker = _REQUEST.unpack(request)
        try:
            number, extra = self._answer(Ask(ask), slot, worker)
            reply, text = 0, b""
        except (Refused, ConfigError, ValueError) as error:
            (number, extra), reply, text = (0, None), 1, str(error).encode()
        except TemporaryFailure as error:
            (number, extra), reply, text = (0, None), 2, error.public.encode()
        except OSError as error:
            (number, extra), reply, text = (0, None), 2, (error.strerror or "system error").encode()
        descriptors = []
        if isinstance(extra, bytes):
            descriptors = [sealed_memfd(extra)]
        elif extra is not None:
            descriptors = [extra.detach()]
        try:
            socket.send_fds(client, [_REPLY.pack(reply, number, text[:200])], descriptors)
        except OSError:
            pass
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def close(self) -> None:
        """Close the door."""
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        for client in self._clients:
            self._loop.remove_reader(client.fileno())
            client.close()
        with contextlib.suppress(FileNotFoundError):
            Path(self._path).unlink()


def knock(path: str, ask: Ask, slot: int = 0, worker: int = 0, *, timeout: float = 10.0) -> tuple[int, int | None]:
    """Ask a running cell: the number and the descriptor of its answer. For the command line; blocks.

    Raises TemporaryFailure (`not-running`) when nobody is there, Refused or TemporaryFailure as answered.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(timeout)
        try:
            client.connect(path)
            client.send(_REQUEST.pack(ask, slot, worker))
            packet, descriptors, _, _ = socket.recv_fds(client, _REPLY.size, 1)
        except OSError as error:
            raise TemporaryFailure(f"the cell is not running ({error.strerror or error})", code="not-running") from None
    if len(packet) != _REPLY.size:
        raise TemporaryFailure("the cell went away", code="not-running")
    reply, number, text = _REPLY.unpack(packet)
    why = text.rstrip(b"\0").decode("utf-8", "replace")
    if reply == 1:
        raise Refused(why)
    if reply == 2:
        raise TemporaryFailure(why)
    return number, descriptors[0] if descriptors else None


def ask_status(path: str) -> dict[str, object]:
    """The cell's own account of itself. Raises as knock."""
    _, descriptor = knock(path, Ask.STATUS)
    if descriptor is None:
        raise TemporaryFailure("the cell gave no status", code="not-running")
    try:
        status: dict[str, object] = json.loads(read_sealed_memfd(descriptor, STATUS_MAX))
        return status
    finally:
        os.close(descriptor)
