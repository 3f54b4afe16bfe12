"""Malformed frames on every edge of a live cell: the edge ends each time, and no process does.

From here, in the place of the peer, on fresh socketpairs that the supervisor hands to the live process. Restarts are
off, so that a process that dies stays dead and is seen.
"""

import asyncio
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.supervisor.cells import alive, attach, hello, resident, running, unit_of

from bulkhead.boundary.codec import HEADER, PAYLOAD_MAX, FrameKind, encode, frame
from bulkhead.boundary.messages.fields import MESSAGE_MAX
from bulkhead.boundary.messages.registry import requests_of
from bulkhead.boundary.peers import PEERS
from bulkhead.boundary.processes import OPERATOR_CONSOLE, PROCESSES
from bulkhead.supervisor.cell import Cell, Unit

AT_ONCE = 24
GROWTH_MAX = 96 << 20  # bytes that a process may grow by in all this: keyring waits a while for each store that came
EDGES = [(p.client, p.server) for p in PEERS]
SIDES = [(client, server) for client, server in EDGES] + [
    (server, client) for client, server in EDGES if client != OPERATOR_CONSOLE
]
"""(who we pretend to be, who gets our frames): the holder's side of every edge, and the client's."""


def malformed(dice: random.Random, pretending: str, receiver: str) -> bytes:
    """Bytes of which the first frame that is not a good Hello breaks a rule of this side."""
    kind = dice.choice(list(FrameKind))
    number = dice.choice([0, 1, 2, 0xFFFFFFFF, dice.getrandbits(32)])
    noise = dice.randbytes(dice.choice([0, 1, 5, 40, 300]))
    peering = next(p for p in PEERS if {p.client, p.server} == {pretending, receiver})
    request = dice.choice(requests_of(peering))
    tag = encode(request.__struct_config__.tag)
    arms = (
        lambda: HEADER.pack(dice.choice([0, 1, 1 << 20]), dice.randrange(12, 256), number) + noise,  # unknown kind
        lambda: HEADER.pack(PAYLOAD_MAX[kind] + dice.choice([1, 1 << 16, 0xF0000000]), kind, number) + noise,
        lambda: frame(FrameKind.HELLO, 0, b"\xc1" + noise[:200]),
        lambda: frame(FrameKind.REQUEST, number, b"\xc1" + noise),
        lambda: frame(FrameKind.REQUEST, number, b"\x9f" + tag + noise),
        lambda: frame(FrameKind.REQUEST, number, b"\x92" + tag + b"\xdd\xff\xff\xff\xff"),
        lambda: frame(FrameKind.REQUEST, number, b"\x91" * MESSAGE_MAX if dice.random() < 0.02 else b"\x91" * 2000),
        lambda: frame(FrameKind.REQUEST, number, b"\x91\x7f" + noise),  # a tag that nobody has
        lambda: frame(FrameKind.REQUEST_BODY, number, b"\xc0" + noise),
        lambda: frame(dice.choice([FrameKind.REPLY, FrameKind.REPLY_BODY, FrameKind.FAILURE]), number, noise),
        lambda: frame(FrameKind.FACT, number, b"\x92\x7e" + noise),
        lambda: frame(dice.choice([FrameKind.CHUNK, FrameKind.LAST]), number, noise),
        lambda: frame(FrameKind.CREDIT, number, b"\1\0\0"),
        lambda: hello(dice.getrandbits(32)),  # a second one, or of another generation
    )
    return dice.choice(arms)()


async def one_edge(cell: Cell, unit: Unit, pretending: str, numbers: Iterator[int], dice: random.Random) -> None:
    """One fresh edge, one malformed frame; it must be ended by the other side."""
    number = next(numbers)
    slot = PROCESSES[pretending].slot if pretending != OPERATOR_CONSOLE else 0
    ours = attach(unit, slot, number)
    loop = asyncio.get_running_loop()
    try:
        data = malformed(dice, pretending, unit.process.name)
        if dice.random() < 0.9:
            data = hello(number) + data
        cut = dice.randrange(len(data))
        await loop.sock_sendall(ours, data[:cut])
        await loop.sock_sendall(ours, data[cut:])
        ours.shutdown(socket.SHUT_WR) if dice.random() < 0.3 else None
        while await asyncio.wait_for(loop.sock_recv(ours, 1 << 16), 20):
            pass
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        ours.close()


async def pour(cell: Cell, frames: int, seed: int) -> None:
    """`frames` malformed frames on each edge, every process with its pid and its size at the end."""
    pids = {unit: unit.pid for unit in cell.units}
    sizes = {unit: resident(unit.pid) for unit in cell.units}
    numbers = iter(range(1_000_000, 0xFFFFFFFF))
    dice = random.Random(seed)
    for pretending, receiver in SIDES:
        unit = unit_of(cell, receiver)
        left = iter(range(frames))

        async def worker(unit: Unit = unit, pretending: str = pretending, left: Iterator[int] = left) -> None:
            for _ in left:
                await one_edge(cell, unit, pretending, numbers, dice)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        assert alive(unit.pid) and unit.state == "started", f"{receiver} ended by {pretending}"
    await asyncio.sleep(0.2)
    assert {unit: unit.pid for unit in cell.units} == pids and all(alive(pid) for pid in pids.values())
    assert cell.ready and not sum(unit.restarts for unit in cell.units)
    for unit, size in sizes.items():
        assert resident(unit.pid) - size < GROWTH_MAX, unit.name


async def test_malformed_frames_end_their_edge_and_no_process(solo: Path) -> None:
    async with running(solo, restarts=False) as cell:
        await pour(cell, 150, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_10_000_malformed_frames_on_each_edge_end_no_process(solo: Path) -> None:
    async with running(solo, restarts=False) as cell:
        await pour(cell, 10_000, seed=2)
