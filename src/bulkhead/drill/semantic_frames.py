"""Malformed frames on every edge to a holder: each ends its edge, and never the holder.

The structure is known and one thing is wrong with it: lengths, kinds, call numbers, tags, arity, types, limits, depth,
order, bodies and credits. Drawn from a fixed seed, so that a run can be repeated.
"""

import asyncio
import random
import socket
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from bulkhead.boundary.codec import PROTOCOL, FrameKind, Hello, encode, frame
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.registry import requests_of
from bulkhead.boundary.messages.to_ledger import ReadEntries
from bulkhead.boundary.peers import PEERS, Peering
from bulkhead.drill.bare_cell import HOLDERS, BareCell
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.ledger.event import parse_event

SEED = 20260617
PER_MESSAGE = 6
SECONDS = 0.25
_WRONG: tuple[Any, ...] = (
    None, True, -1, 2**64 - 1, 2**63, "", "x" * 5000, b"", b"\0" * 5000, [], [[]] * 50, {}, {"x": 1}, 1.5, float("nan"),
)  # fmt: skip


def _plausible(annotation: Any, draw: random.Random) -> Any:
    """A value of that type within its limits, as MessagePack has it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *metas = get_args(annotation)
        meta = next((m for m in metas if isinstance(m, msgspec.Meta)), msgspec.Meta())
        if get_origin(base) is tuple:
            return [_plausible(get_args(base)[0], draw) for _ in range(meta.min_length or 0)]
        size = meta.min_length or 0
        base = getattr(base, "__supertype__", base)
        if base in (bytes, str):
            return draw.randbytes(size) if base is bytes else "x" * size
        return meta.ge or 0
    if origin is tuple:
        return [_plausible(part, draw) for part in get_args(annotation) if part is not Ellipsis][:2]
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return _fields(annotation, draw)
    return {int: 0, bool: False, str: "", bytes: b""}.get(annotation)


def _fields(struct: type[msgspec.Struct], draw: random.Random) -> list[Any]:
    hints = get_type_hints(struct, include_extras=True)
    tag = struct.__struct_config__.tag
    return [tag] * (tag is not None) + [_plausible(hints[name], draw) for name in struct.__struct_fields__]


def malformed(request: type[Request[Any]], draw: random.Random) -> Iterator[bytes]:
    """Frames of this message with one thing wrong, without end."""
    while True:
        fields = _fields(request, draw)
        how = draw.randrange(9)
        if how == 0:
            fields[draw.randrange(len(fields))] = draw.choice(_WRONG)
        elif how == 1:
            fields.append(draw.choice(_WRONG))
        elif how == 2 and len(fields) > 1:
            fields = fields[: draw.randrange(1, len(fields))]
        elif how == 3:
            fields[0] = draw.choice([0, 255, 2**31, -1, "1", None])
        payload = msgspec.msgpack.encode(fields)
        call = draw.randrange(1, 2**32)
        if how == 4:
            payload = payload[: draw.randrange(len(payload))] + draw.randbytes(3)
        elif how == 5:
            payload = b"\x91" * 4000
        if how == 6:
            yield draw.randbytes(draw.randrange(1, 200))
        elif how == 7:
            kind = draw.choice(list(FrameKind))
            yield frame(kind, call, draw.randbytes(draw.randrange(5)) if kind is not FrameKind.CANCEL else b"")
        elif how == 8:
            yield frame(FrameKind.REQUEST_BODY, call, payload) + frame(FrameKind.CHUNK, call ^ 1, b"x" * 100)
        else:
            yield frame(FrameKind.REQUEST, call, payload) * draw.randrange(1, 3)


async def _send(cell: BareCell, peering: Peering, data: bytes) -> bool:
    """Whether the edge on which that was said ended; said after a Hello, in two pieces."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    edge = cell.exchanges[peering.server].attach(theirs, Channel(peering.client, 7, next(cell._numbers)), 1)
    try:
        await loop.sock_sendall(ours, frame(FrameKind.HELLO, 0, encode(Hello(PROTOCOL, "hostile", 1))))
        await loop.sock_sendall(ours, data[: len(data) // 2])
        await asyncio.sleep(0)
        await loop.sock_sendall(ours, data[len(data) // 2 :])
        for _ in range(20):
            if not edge.alive:
                break
            await asyncio.sleep(0)
        return not edge.alive
    except OSError:
        return True
    finally:
        ours.close()
        edge.close(None)


async def fuzz(cell: BareCell) -> Finding:
    """Every message of every edge to a holder, malformed in several ways; then each holder must still answer."""
    person = await cell.add_person()
    draw = random.Random(SEED)  # noqa: S311  # repeatable on purpose; nothing secret is drawn
    said = ended = reached = 0
    edges = [peering for peering in PEERS if peering.server in HOLDERS]
    for peering in edges:
        for request in requests_of(peering):
            frames = malformed(request, draw)
            for _ in range(PER_MESSAGE):
                said += 1
                ended += await _send(cell, peering, next(frames))
        reached += not await asyncio.wait_for(cell.admits("access", person), SECONDS * 40)
    tellers = await _tellers(cell)
    note = (
        f"{said} malformed frames on {len(edges)} edges, {ended} ended theirs; {len(tellers)} holders told the ledger"
    )
    return Finding(
        reached, len(edges), ended > said // 3 and len(cell.violations) > 0 and tellers == set(HOLDERS), note
    )


async def _tellers(cell: BareCell) -> set[object]:
    """Holders whose EdgeViolation is in the log, waiting for their outboxes a while."""
    found: set[object] = set()
    position = 0
    for _ in range(100):
        page = await cell.ask("cli", "ledger", ReadEntries(position))
        events = [parse_event(entry) for entry in page.entries]
        found |= {event.details["compartment"] for event in events if event.kind.name == "EdgeViolation"}
        position += len(events)
        if found >= set(HOLDERS):
            break
        if not events:
            await asyncio.sleep(0.02)
    return found


ACTS = (
    SemanticAct(
        "malformed-frames", "mx", (Column.AVAILABILITY,),
        "every message of every edge to a holder with one thing wrong",
        "a holder no longer answers", "frames end their edges, and every holder tells the ledger", fuzz,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)
