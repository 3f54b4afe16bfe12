"""One traced run of a loaded store: what was asked, what was answered, and every system call between."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.durability.conversation import turns_of
from tests.durability.strace_log import Call, read_calls
from tests.store.world import ACCESS, CLI, KEYRING, MX, STORE, stamp

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_store
from bulkhead.boundary.messages.registry import requests_of
from bulkhead.boundary.peers import PEERS
from bulkhead.identifiers import new_id

ACCOUNTS, DELIVERIES, CALLERS = 12, 240, 8
SEGMENT_BYTES = 1 << 16  # so that new segments, and with them directory syncs, come often
TRACED = (
    "openat,write,pwrite64,fsync,fdatasync,ftruncate,unlink,unlinkat,rename,renameat2,mkdir,mkdirat,sendto,recvfrom"
)


@dataclass(slots=True)
class Trace:
    """The calls of one run, and the line after which each email had been acknowledged."""

    root: Path
    calls: list[Call]
    acknowledged: dict[bytes, int] = field(default_factory=dict)  # email to line of the reply
    accounts: list[bytes] = field(default_factory=list)


def have_strace() -> bool:
    return shutil.which("strace") is not None


def requests_to(server: str) -> tuple[type[Any], ...]:
    """Every request that PEERS lets anyone send to `server`."""
    found = [request for rule in PEERS if rule.server == server for request in requests_of(rule)]
    return tuple(dict.fromkeys(found))


@contextmanager
def traced(directory: Path, runner: str, edges: int, *arguments: str) -> Iterator[list[socket.socket]]:
    """Our ends of so many edges, or without any the runner's socket, of a holder under strace.

    It writes to `data`, its trace goes to `trace`, and it is killed in the end.

    runner: a module that takes the descriptor of a socket, the data directory and `arguments`, gets the other ends over
    that socket, and says `ready`.
    """
    data, log = directory / "data", directory / "trace"
    data.mkdir()
    ours, theirs = socket.socketpair()
    pairs = [socket.socketpair() for _ in range(edges)]
    command = ["strace", "-f", "-y", "-xx", "-s", "4000000", "-e", f"trace={TRACED}", "-o", str(log)]
    command += [sys.executable, "-m", runner, str(theirs.fileno()), str(data), *arguments]
    process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), cwd=Path(__file__).parents[2])
    try:
        if pairs:
            socket.send_fds(ours, [b"edges"], [end.fileno() for _, end in pairs])
        ours.settimeout(60)
        assert ours.recv(5) == b"ready"
        for _, end in pairs:
            end.close()
        yield [end for end, _ in pairs] or [ours]
    finally:
        _stop(process.pid)
        process.wait(30)
        ours.close()
        theirs.close()


def wait_for_end(parent: socket.socket) -> None:
    """Read what a runner says until its last mark."""
    text = b""
    while not text.endswith(b"MARK end\n"):
        text += parent.recv(65536)


def run_traced(directory: Path, left_out: str = "") -> Trace:
    """Load a store under strace and read the trace."""
    with traced(directory, "tests.durability.store_runner", 4, str(SEGMENT_BYTES), left_out) as ends:
        accounts, emails = asyncio.run(_load(ends))
    data = directory / "data"
    trace = Trace(data, read_calls(directory / "trace", data), accounts=accounts)
    trace.acknowledged = _acknowledged(trace.calls)
    assert set(trace.acknowledged) == emails, "the trace must show every acknowledgement that the client got"
    return trace


def _stop(strace: int) -> None:
    for child in Path(f"/proc/{strace}/task/{strace}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)  # a cut, not a clean end


async def _load(ends: list[socket.socket]) -> tuple[list[bytes], set[bytes]]:
    exchanges = []
    for channel, end in zip((MX, ACCESS, KEYRING, CLI), ends, strict=True):
        exchange = Exchange(channel, lambda *_: None)
        exchange.attach(end, STORE, 1)
        exchanges.append(exchange.to("store"))
    mx, access, keyring, cli = exchanges
    accounts = [new_id() for _ in range(ACCOUNTS)]
    for account in accounts:
        await cli.call(to_store.OpenAccount(stamp(), account, 0))
    handle = new_id()
    grant = to_store.Grant(handle, accounts[0], to_store.Rights.ALL, *ACCESS, (int(time.time()) + 600) * 1000)
    await keyring.call(to_store.GrantSessions((grant,), True, 0))
    inbox = (await access.call(to_store.ListMailboxes(handle))).rows[0].mailbox
    emails: set[bytes] = set()

    async def deliver(number: int) -> None:
        for turn in range(DELIVERIES // CALLERS):
            copy = _copy(accounts[(number + turn) % ACCOUNTS], 200 + 997 * (number * turn % 17))
            await mx.call(to_store.DeliverMail(stamp(), (copy,)), _payload(copy))
            emails.add(copy.email)

    async def read_and_write() -> None:
        for turn in range(DELIVERIES // CALLERS):
            copy = _copy(accounts[0], 500 + turn)
            await access.call(to_store.AppendMessage(stamp(), handle, inbox, copy, 1), _payload(copy))
            emails.add(copy.email)
            pair = (_copy(accounts[0], 300 + turn), _copy(accounts[0], 70_000))
            body = b"".join(map(_payload, pair))
            await access.call(to_store.AppendMessages(stamp(), handle, inbox, pair, (0, 8)), body)
            emails.update(copy.email for copy in pair)
            if turn == 3:
                await access.call(to_store.RenameInbox(stamp(), handle, new_id(), b"sealed name", new_id()))
            _, reader = await access.open(to_store.StoreFlags(stamp(), handle, inbox, ((1, 5),), 1, 2 << (turn % 4)))
            await reader.read_all()

    await asyncio.gather(read_and_write(), *(deliver(number) for number in range(CALLERS)))
    return accounts, emails


def _copy(account: bytes, body: int) -> Any:
    return to_store.Copy(account, new_id(), b"box" * 29, body, 40, 60, body, int(time.time()))


def _payload(copy: Any) -> bytes:
    size = copy.summary_size + copy.header_size + copy.body_size
    return (copy.email * (size // 16 + 1))[:size]


def _acknowledged(calls: list[Call]) -> dict[bytes, int]:
    """Email to the line at which its reply began to leave the store."""
    found: dict[bytes, int] = {}
    for turn in turns_of(calls, requests_to("store")):
        if isinstance(turn.request, to_store.DeliverMail | to_store.AppendMessages):
            found |= dict.fromkeys((copy.email for copy in turn.request.copies), turn.answered)
        elif isinstance(turn.request, to_store.AppendMessage):
            found[turn.request.copy.email] = turn.answered
    return found
