"""The locked reader of mail files, started, asked and ended: what it says is held against limits and not believed."""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from bulkhead.boundary.processes import SLOTS_PER_CELL
from bulkhead.cli.import_reader import READER_SLOT, check_lock
from bulkhead.cli.road import Road
from bulkhead.errors import PeerError
from bulkhead.imports.mail_reader import MODULE
from bulkhead.imports.mail_rows import ASK, FRAME_MAX, LENGTH, Ask, Letter, Said, parse_said
from bulkhead.imports.rows import ReaderLock

ANSWER_SECONDS = 120.0  # for one message
STREAM_LIMIT = 1 << 20


class MailReader:
    """One reader. form: `maildir`, or the dialect of an mbox, whose descriptor it gets. Use as a context."""

    def __init__(self, road: Road, form: str, descriptor: int | None = None) -> None:
        self._road, self._form, self._descriptor = road, form, descriptor
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "MailReader":
        """Raises PeerError, ConfigError where its lock does not stand (in production)."""
        installation = self._road.installation
        uid = installation.settings.integer("uid_base") + SLOTS_PER_CELL * self._road.tenant.slot + READER_SLOT
        empty = Path(tempfile.mkdtemp(prefix="bulkhead-import-"))
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-m", MODULE, self._form, str(empty), str(uid),
                stdin=asyncio.subprocess.PIPE if self._descriptor is None else self._descriptor,
                stdout=asyncio.subprocess.PIPE, env={}, limit=STREAM_LIMIT,
            )  # fmt: skip
            lock, _ = await self.hear()
        finally:
            with contextlib.suppress(FileNotFoundError):
                empty.rmdir()  # its root, which it is locked to by now
        if not isinstance(lock, ReaderLock):
            raise PeerError("the reader of the files did not say first how it is locked")
        check_lock(lock, production=installation.settings.boolean("production"))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def ask(self, kind: Ask, name: bytes, octets: bytes) -> None:
        """Give it something to read. What it says must be heard meanwhile: a large message does not fit the pipe."""
        if self._process is None or self._process.stdin is None:
            raise ValueError("the reader was not started")
        try:
            self._process.stdin.write(ASK.pack(kind, len(name), len(octets)) + name)
            self._process.stdin.write(octets)
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise PeerError("the reader of the files has ended") from None

    async def hear(self) -> tuple[Said, bytes]:
        """The next that it says, and a message's octets. Raises PeerError where it ends, or takes too long."""
        if self._process is None or self._process.stdout is None:
            raise ValueError("the reader was not started")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                (size,) = LENGTH.unpack(await self._process.stdout.readexactly(LENGTH.size))
                if size > FRAME_MAX:
                    raise PeerError("the reader of the files sent a frame that is too long")
                said = parse_said(await self._process.stdout.readexactly(size))
                if not isinstance(said, Letter):
                    return said, b""
                octets = await self._process.stdout.readexactly(said.size)
                if said.header_size > said.size:
                    raise PeerError("the reader of the files sent a header that is longer than its message")
                return said, octets
        except asyncio.IncompleteReadError:
            raise PeerError("the reader of the files ended before its end") from None
        except TimeoutError:
            raise PeerError("the reader of the files took too long") from None

    async def told(self, kind: Ask, name: bytes, octets: bytes) -> AsyncIterator[Said]:
        """What it says to one question that has no message in it, without end: stop when it is whole."""
        asking = asyncio.create_task(self.ask(kind, name, octets))
        try:
            while True:
                yield (await self.hear())[0]
        finally:
            await asyncio.wait([asking], timeout=1.0)
            asking.cancel()
