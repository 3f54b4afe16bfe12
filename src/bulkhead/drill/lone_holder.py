"""One real holder in a process of its own, executed afresh, with edges to a bare cell: so that its memory is its own.

Run as `python -m bulkhead.drill.lone_holder`; the order comes as JSON on standard input, which also ends it.
"""

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from bulkhead.auth import process as auth_process
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.peers import PEERS
from bulkhead.drill.bare_cell import BareCell
from bulkhead.identifiers import TenantId
from bulkhead.keyring import process as keyring_process
from bulkhead.records.credential import StretchParameters

WORKER = 77
_WRITABLE = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) rw", re.MULTILINE)


async def _serve(order: dict[str, Any]) -> None:
    name, tenant = order["name"], TenantId(order["settings"]["id"])
    exchange = Exchange(Channel(name, WORKER, 1), lambda *_: None)
    host = Host(exchange.me, tenant, order["settings"], exchange, root_key=bytes.fromhex(order.pop("root_key")))
    os.chdir(order["directory"])
    if name == "auth":
        service: Any = await auth_process.start(host, parameters=StretchParameters(*order["cost"]))
        print(service._auth.logins._cache_key.hex(), flush=True)  # for whoever checks the dump
    else:
        service = await keyring_process.start(host)
        print("", flush=True)
    for peer, descriptor in order["edges"]:
        exchange.attach(socket.socket(fileno=descriptor), Channel(peer, WORKER, 1), 1)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await service.stop()


def memory_of(pid: int) -> bytes:
    """All that a process can write to. Raises OSError where the host does not allow to read it."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in _WRITABLE.findall(Path(f"/proc/{pid}/maps").read_bytes()):
            begin, size = int(start, 16), int(end, 16) - int(start, 16)
            memory.seek(begin)
            with contextlib.suppress(OSError):  # a guard page
                found.append(memory.read(size))
    return b"".join(found)


class LoneHolder:
    """A running one. told: the line it said at its start."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.told = process.stdout.readline().strip() if process.stdout else ""

    def memory(self) -> bytes:
        """All that it can write to, as a thief of its memory finds it. Raises OSError where the host does not allow."""
        return memory_of(self._process.pid)

    def end(self) -> None:
        """Stop it."""
        self._process.communicate(timeout=20)


@contextlib.asynccontextmanager
async def lone_holders(
    cell: BareCell, names: Sequence[str], cost: StretchParameters
) -> AsyncIterator[list[LoneHolder]]:
    """These holders of the cell in processes of their own from here on; ended afterwards."""
    ends: dict[str, list[tuple[str, socket.socket]]] = {name: [] for name in names}
    ours: list[tuple[str, str, socket.socket]] = []
    for name in names:
        await cell.stop(name)
    for peering in PEERS:
        pair = (peering.client, peering.server)
        if not set(pair) & set(names) or not set(pair) <= {*names, *cell.exchanges}:
            continue
        for (name, peer), end in zip((pair, pair[::-1]), socket.socketpair(), strict=True):
            if name in ends:
                ends[name].append((peer, end))
            else:
                ours.append((name, peer, end))
    holders = [LoneHolder(_spawn(cell, name, ends[name], cost)) for name in names]
    for name, peer, end in ours:
        cell.exchanges[name].attach(end, Channel(peer, WORKER, 1), 1)
    try:
        yield holders
    finally:
        for holder in holders:
            await asyncio.to_thread(holder.end)


def _spawn(
    cell: BareCell, name: str, edges: list[tuple[str, socket.socket]], cost: StretchParameters
) -> "subprocess.Popen[str]":
    order = {
        "name": name, "settings": cell.settings, "directory": str(cell.root / name), "root_key": cell._root_key.hex(),
        "edges": [(peer, end.fileno()) for peer, end in edges],
        "cost": (cost.memory_kib, cost.time_cost, cost.lanes),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "bulkhead.drill.lone_holder"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        pass_fds=[end.fileno() for _, end in edges],
    )  # fmt: skip
    for _, end in edges:
        end.close()
    if process.stdin is not None:
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
    return process


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.stdin.readline())))
