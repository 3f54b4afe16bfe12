"""What a twin runs: hostile code behind the same lock and edges as its compartment, at the drill's command.

The supervisor's child starts it in the place of the compartment's own process.py. It gets no listener, no key and no
root key; its orders come over a stream that only the cell's owner can open, as JSON lines of at most 64 KiB:

    {"id": 1, "act": "probe", "args": {"act": "files.read_file", "target": "sibling"}}     after "targets"
    {"id": 2, "act": "reach.read_file", "args": {"path": "..."}}                            acts_reach.py
    {"id": 3, "act": "edges.log_in", "args": {"address": "...", "password": "..."}}         acts_edges.py
    {"id": 1, "answer": "EPERM"}                                                            every answer has its id

It ends with its stream, or after a minute without one.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Mapping
from typing import Any

from bulkhead.boundary.host import Host, Service
from bulkhead.drill import acts_edges, acts_reach
from bulkhead.drill.line import Document, LineReader, encode_line
from bulkhead.drill.probes import act_named
from bulkhead.drill.targets import Absent, Targets, Victim
from bulkhead.errors import Error
from bulkhead.supervisor.lock import Lock

STREAM_SECONDS = 60.0  # without a stream it ends itself
POLL_SECONDS = 0.005
RECEIVE_SIZE = 1 << 16


class Twin:
    """Serves one stream."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._targets: Targets | None = None
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._live())

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """It has no settings."""

    async def stop(self) -> None:
        """Nothing of it is kept."""
        self._task.cancel()

    async def _live(self) -> None:
        try:
            await self._serve(await self._find_stream())
        finally:
            os._exit(0)

    async def _find_stream(self) -> socket.socket:
        deadline = self._loop.time() + STREAM_SECONDS
        while (stream := self._host.listeners.get("drill")) is None:
            if self._loop.time() > deadline:
                raise TimeoutError
            await asyncio.sleep(POLL_SECONDS)
        stream.setblocking(False)
        return stream

    async def _serve(self, stream: socket.socket) -> None:
        reader = LineReader()
        while data := await self._loop.sock_recv(stream, RECEIVE_SIZE):
            reader.receive_data(data)
            while (order := reader.next_document()) is not None:
                await self._loop.sock_sendall(stream, encode_line({"id": order.get("id"), **await self._do(order)}))

    async def _do(self, order: Document) -> Document:
        """One act's answer. Whatever it raises is a refusal."""
        family, _, name = str(order.get("act", "")).partition(".")
        arguments = order.get("args") or {}
        try:
            if family == "targets":
                self._targets = read_targets(arguments)
                return {"answer": "succeeded"}
            if family == "probe":
                return {"answer": self._probe(str(arguments["act"]), str(arguments["target"]))}
            if family == "reach":
                return acts_reach.attempt(name, arguments)
            if family == "edges":
                return await acts_edges.ACTS[name](self._host.exchange, **arguments)
            if family == "edge-names":
                return {
                    "answer": "succeeded",
                    "names": sorted({e.peer.compartment for e in self._host.exchange.edges()}),
                }
        except Error as error:
            return {"answer": error.code}
        except Exception as error:
            return {"answer": type(error).__name__}
        return {"answer": "no-such-act"}

    def _probe(self, act: str, target: str) -> str:
        if self._targets is None:
            return "no-targets"
        try:
            act_named(act)(self._targets, self._targets.victim(target))
        except Absent as reason:
            return f"absent: {reason}"
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, type(error).__name__)
        return "succeeded"


async def start(host: Host) -> Service:
    """The twin of `host`'s compartment."""
    return Twin(host)


def write_targets(targets: Targets) -> Document:
    """Targets as JSON, for a twin that is not a child of this process."""
    lock = targets.lock
    return {
        **{name: _write_victim(getattr(targets, name)) for name in ("host", "sibling", "worker", "other_cell")},
        "own_directory": targets.own_directory,
        "inherited": targets.inherited,
        "starting_uid": targets.starting_uid,
        "lock": {
            "memory_bytes": lock.memory_bytes, "open_files": lock.open_files, "threads": lock.threads,
            "file_bytes": lock.file_bytes,
        },
    }  # fmt: skip


def _write_victim(victim: Victim) -> Document:
    names = (
        "pid", "directory", "secret_file", "spare_file", "address", "descriptor", "tcp", "tcp6", "udp", "unix_path",
        "abstract", "shared_memory",
    )  # fmt: skip
    return {**{name: getattr(victim, name) for name in names}, "secret": victim.secret.hex()}


def read_targets(document: Document) -> Targets:
    """The targets that write_targets gave. Raises KeyError, TypeError or ValueError on anything else."""
    victims = {name: _read_victim(document[name]) for name in ("host", "sibling", "worker", "other_cell")}
    return Targets(
        **victims,
        own_directory=document["own_directory"],
        inherited=document["inherited"],
        starting_uid=document["starting_uid"],
        lock=Lock(root="/", keep_fds=frozenset(), **document["lock"]),
    )


def _read_victim(document: Document) -> Victim:
    pairs = {name: tuple(document[name]) if document[name] else None for name in ("tcp", "tcp6", "udp")}
    return Victim(**{**document, **pairs, "secret": bytes.fromhex(document["secret"])})
