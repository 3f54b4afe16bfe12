"""Bulk provisioning by the API: a file that officers signed comes in parts, waits at directory, and is carried out.

The console splits parts into chunks and does what directory says a chunk needs; it chooses no account, binding or
number. Nothing of it rests here: each call goes on where directory says the file is.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages import to_directory as d
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_keyring import CreateMailboxKeys
from bulkhead.boundary.messages.to_store import LimitAccount, OpenAccount
from bulkhead.console import answers as a
from bulkhead.console.problem import CallError
from bulkhead.console.staffed import CALL_SECONDS, Staffed
from bulkhead.errors import Refused
from bulkhead.identifiers import AccountId
from bulkhead.records.canonical import require_base64
from bulkhead.records.provision import CHUNKS_MAX, LINES_MAX, chunks_of

AT_ONCE = 32  # requests under way at one holder
RUN_SECONDS = 5.0  # how long one call goes on with further chunks
PART_MAX = 900_000  # characters of a part: with its escapes a body has at most 1 MiB
Path = Mapping[str, str]
_ROOT, _NUMBER = re.compile(r"[0-9a-f]{64}"), re.compile(r"0|[1-9][0-9]{0,4}")


class ProvisionBody(a.Value, frozen=True):
    """root: what is signed. hashes: SHA-256 of each chunk, one behind the other (docs/provisioning.md)."""

    root: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    lines: Annotated[int, Meta(ge=1, le=LINES_MAX)]
    hashes: Annotated[str, Meta(min_length=44, max_length=260_000, pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class PartBody(a.Value, frozen=True):
    """text: the lines of whole chunks, one or several, from the one that the path names on."""

    text: Annotated[str, Meta(min_length=1, max_length=PART_MAX)]


class ProvisionAnswer(a.Value, frozen=True):
    """chunk: the next to be carried out, of `chunks`. done, refused: lines. held: chunks that wait.

    missing: the first chunk that is neither done nor here. expires: when the oldest that waits is forgotten, ms.
    """

    root: str
    lines: int
    chunks: int
    chunk: int
    done: int
    refused: int
    held: int
    missing: int
    expires: int


class RefusedQuery(a.Value, frozen=True):
    """after: `next` of the page before."""

    after: Annotated[int, Meta(ge=0, le=LINES_MAX)] = 0


class RefusedItem(a.Value, frozen=True):
    """A line that was not carried out, and the word for why."""

    line: int
    code: str


class RefusedPage(a.Value, frozen=True):
    """next: 0 at the end."""

    items: list[RefusedItem]
    next: int


async def begin(staff: Staffed, _: Path, __: a.NoQuery, body: ProvisionBody) -> ProvisionAnswer:
    """One that is known goes on."""
    hashes = require_base64(body.hashes, "hashes", 32 * CHUNKS_MAX)
    if not hashes or len(hashes) % 32:
        raise CallError(400, "hashes are 32 octets a chunk", "bad-body")
    root = bytes.fromhex(body.root)
    await staff.ask("directory", d.BeginProvision(_stamp(), root, body.lines, hashes))
    return await _state(staff, root)


async def upload(staff: Staffed, path: Path, _: a.NoQuery, body: PartBody) -> ProvisionAnswer:
    """Chunk by chunk; what is there is kept once."""
    root, first = _root(path), _number(path)
    try:
        lines = [line + b"\n" for line in body.text.encode().removesuffix(b"\n").split(b"\n")]
    except UnicodeEncodeError:
        raise CallError(400, "text is UTF-8 without lone surrogates", "bad-body") from None
    if not body.text.endswith("\n"):
        raise CallError(400, "a chunk ends with a line end", "bad-body")
    try:
        chunks = list(chunks_of(lines))
    except Refused as error:
        raise CallError(400, error.public, error.code) from None
    for chunk in chunks:
        await staff.ask("directory", d.UploadChunk(_stamp(), root, first + chunk.number, chunk.data))
    return await _state(staff, root)


async def show(staff: Staffed, path: Path, _: a.NoQuery, __: None) -> ProvisionAnswer:
    """As directory knows it."""
    return await _state(staff, _root(path))


async def list_refused(staff: Staffed, path: Path, query: RefusedQuery, _: None) -> RefusedPage:
    """By line."""
    rows = (await staff.ask("directory", d.ListRefusedLines(_root(path), query.after))).rows
    return RefusedPage([RefusedItem(row.line, row.code) for row in rows], rows[-1].line if rows else 0)


async def run(staff: Staffed, path: Path, _: a.NoQuery, __: None) -> ProvisionAnswer:
    """Carry out what is here, for some seconds; asked for again, it goes on."""
    root, until = _root(path), time.monotonic() + RUN_SECONDS
    while True:
        found = await staff.ask("directory", d.ShowUpload(root))
        if not (found.state.chunk < found.missing and time.monotonic() < until):
            return _answer(found)
        await _chunk(staff, root)


async def _chunk(staff: Staffed, root: bytes) -> None:
    plan = await staff.ask("directory", d.PlanChunk(root))
    slots = asyncio.Semaphore(AT_ONCE)

    async def make(one: d.AccountLimit) -> d.BindingRow | None:
        async with slots:
            try:
                account = AccountId(one.account)
                created = await staff.ask("keyring", CreateMailboxKeys(_stamp(), account, False))
                await staff.ask("store", OpenAccount(_stamp(), account, one.quota_bytes))
            except Refused as error:
                if error.code in ("exists", "tombstone"):
                    return None  # directory refuses the line
                raise
            return created.binding

    bindings = await asyncio.gather(*map(make, plan.makes))
    for one in plan.limits:
        await staff.ask("store", LimitAccount(_stamp(), AccountId(one.account), one.quota_bytes))
    made = tuple(binding for binding in bindings if binding is not None)
    await staff.ask("directory", d.CarryOutChunk(_stamp(), root, plan.number, made))


async def _state(staff: Staffed, root: bytes) -> ProvisionAnswer:
    return _answer(await staff.ask("directory", d.ShowUpload(root)))


def _answer(found: d.UploadState) -> ProvisionAnswer:
    state = found.state
    return ProvisionAnswer(
        state.root.hex(), state.lines, state.chunks, state.chunk, state.done, state.refused, found.held, found.missing,
        found.expires,
    )  # fmt: skip


def _stamp() -> Stamp:
    """A fresh one: a file's own progress says what is done, and a call that is repeated goes on from there."""
    return Stamp.fresh("staff", CALL_SECONDS)


def _root(path: Path) -> bytes:
    if not _ROOT.fullmatch(path["root"]):
        raise CallError(400, "a file's root has 64 hexadecimal digits", "bad-path")
    return bytes.fromhex(path["root"])


def _number(path: Path) -> int:
    if not _NUMBER.fullmatch(path["chunk"]) or int(path["chunk"]) >= CHUNKS_MAX:
        raise CallError(400, f"a chunk's number is 0 to {CHUNKS_MAX - 1}", "bad-path")
    return int(path["chunk"])
