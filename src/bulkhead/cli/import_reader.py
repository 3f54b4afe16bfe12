"""The locked reader of a foreign file, started, listened to and ended."""

import asyncio
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

from bulkhead.boundary.processes import SLOTS_PER_CELL
from bulkhead.cli.output import say
from bulkhead.cli.road import Road
from bulkhead.errors import ConfigError, PeerError
from bulkhead.imports.reader import MODULE
from bulkhead.imports.rows import FileEnd, FrameReader, Message, ReaderLock
from bulkhead.supervisor.lock import Mechanism

CHUNK = 1 << 16
READER_SLOT = SLOTS_PER_CELL - 1  # of the tenant's uids: no compartment has it
_NEEDED = {Mechanism.SECCOMP.value, Mechanism.DESCRIPTORS.value, Mechanism.LIMITS.value}


async def read_rows(road: Road, descriptor: int, dialect: str, skip: int) -> AsyncGenerator[Message, None]:
    """What the reader says of an open file behind line `skip`, up to FileEnd.

    Raises PeerError where it ended before that, ConfigError where its lock does not stand (in production).
    """
    installation = road.installation
    uid = installation.settings.integer("uid_base") + SLOTS_PER_CELL * road.tenant.slot + READER_SLOT
    empty = Path(tempfile.mkdtemp(prefix="bulkhead-import-"))
    command = [sys.executable, "-I", "-m", MODULE, dialect, str(skip), str(empty), str(uid)]
    process = subprocess.Popen(command, stdin=descriptor, stdout=subprocess.PIPE, env={})
    try:
        async for message in messages_of(await _connected(process)):
            if isinstance(message, ReaderLock):
                empty.rmdir()  # its root, which it is locked to by now and needs no more: whoever is killed leaves none
                check_lock(message, production=installation.settings.boolean("production"))
            yield message
            if isinstance(message, FileEnd):
                return
        raise PeerError(f"the reader of the file ended before its end (status {process.wait()})")
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(FileNotFoundError):
            empty.rmdir()


async def _connected(process: "subprocess.Popen[bytes]") -> asyncio.StreamReader:
    loop, stream = asyncio.get_running_loop(), asyncio.StreamReader(CHUNK)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), process.stdout)
    return stream


async def messages_of(stream: asyncio.StreamReader) -> AsyncIterator[Message]:
    """What it says, its lock first and once. Raises PeerError."""
    frames = FrameReader()
    first = True
    while data := await stream.read(CHUNK):
        for message in frames.receive(data):
            if isinstance(message, ReaderLock) is not first:
                raise PeerError("the reader of the file did not say first how it is locked")
            first = False
            yield message
    if not frames.is_empty:
        raise PeerError("the reader of the file ended within a message")


def check_lock(lock: ReaderLock, *, production: bool) -> None:
    lacking = sorted(_NEEDED - set(lock.applied))
    if not lacking:
        return
    why = f"the process that would read the file cannot be locked here ({'; '.join(lock.missing)})"
    if production:
        raise ConfigError(f"{why}: import on a host with seccomp, or with production = false")
    say(why)
