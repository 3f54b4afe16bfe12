"""`import maildir`, `import mbox`: another server's files into an account of a running cell.

This process opens files and seals, and parses none: a locked one does (imports/mail_reader.py). A file that is not
a plain one, too large or unreadable is told and passed over.
"""

import argparse
import asyncio
import fcntl
import os
import stat
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.import_account import ImportAccount, ImportLog, Tally
from bulkhead.cli.mail_reader import MailReader
from bulkhead.cli.output import print_json, printable, say
from bulkhead.cli.recovery import RecoveryKeys, read_recovery_keys
from bulkhead.cli.road import Road, open_road, wait_for
from bulkhead.errors import ConfigError, PeerError
from bulkhead.identifiers import parse_address
from bulkhead.imports.mail_rows import LISTS_MAX, TEXT_MAX, Ask, Bad, Folder, Letter, MailEnd, Names, UidLines
from bulkhead.imports.maildir import wire_name
from bulkhead.imports.mbox import MESSAGE_MAX
from bulkhead.wire.imap.mailbox_name import INBOX

FILES_MAX = 4_000_000  # of one folder
FOLDERS_MAX = 1000
AHEAD = 8  # files that the reader is given before it has said what they are
LAST_UID = 1 << 32
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class _File:
    """A message's file. part: `cur` or `new`."""

    part: int
    name: bytes
    uid: int
    uidl: str

    @property
    def base(self) -> bytes:
        return self.name.partition(b":")[0]


def import_maildir(options: argparse.Namespace) -> int:
    """Every folder of a Maildir."""
    path = Path(options.maildir)
    if not (path / "cur").is_dir():
        raise ConfigError(f"{path} has no directory cur: name the Maildir itself")
    return _run(options, path, lambda road, account, log: _Maildir(road, account, log, path).run())


def import_mbox(options: argparse.Namespace) -> int:
    """One mbox into one mailbox."""
    path = Path(options.mbox)
    name = wire_name(options.folder.encode())
    if name is None:
        raise ConfigError("--folder is no name that a mailbox can have")
    with path.open("rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ConfigError(f"{path} is no ordinary file: an import can be cut off, and then reads it again")
        form, descriptor = options.dialect, stream.fileno()
        return _run(
            options, path, lambda road, account, log: _read_mbox(road, account, log, form, descriptor, name or INBOX)
        )


_Work = Callable[[Road, ImportAccount, ImportLog], Coroutine[Any, Any, None]]


def _run(options: argparse.Namespace, path: Path, work: _Work) -> int:
    road, address, began = open_road(options.directory, options.tenant), parse_address(options.address), time.time()
    keys = _keys(options, road)
    beside = str(path.absolute()).rstrip("/")
    state, errors = Path(options.state or f"{beside}.state"), Path(options.errors or f"{beside}.errors")
    guard = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    log = None
    try:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{path} is being imported by another command; wait for it") from None
        log = ImportLog(state, errors, f"{road.tenant.id}/{address.key}".encode().hex()[:100])
        tally = wait_for(_work(road, ImportAccount(road, str(address), keys, log), log, work))
    finally:
        os.close(guard)
        if log is not None:
            log.close()
    document = {
        "tenant": str(road.tenant.id), "address": str(address), "added": tally.added, "there": tally.there,
        "octets": tally.octets, "bad": tally.bad, "renumbered": tally.renumbered, "renamed": tally.renamed,
        "unnamed": tally.unnamed, "seconds": round(time.time() - began, 1),
    }  # fmt: skip
    if options.json:
        print_json(options.command, document)
    else:
        print(f"{address}: {tally.added} messages are in, {tally.there} were there, {tally.bad} were left out")
    if tally.bad or tally.unnamed:
        say(f"{tally.bad} messages or folders and {tally.unnamed} keywords were left out: see {errors}")
    return ExitCode.FINDING if tally.bad else ExitCode.OK


def _keys(options: argparse.Namespace, road: Road) -> RecoveryKeys | None:
    if bool(options.partner_key) != bool(options.operator_key):
        raise ConfigError("give both --partner-key and --operator-key, or none")
    if not options.partner_key:
        return None
    return read_recovery_keys(Path(options.partner_key), Path(options.operator_key), road.tenant.id)


async def _work(road: Road, account: ImportAccount, log: ImportLog, work: _Work) -> Tally:
    async with road:
        road.check_running()
        await work(road, account, log)
        await account.flush()
    return account.tally


async def _read_mbox(road: Road, account: ImportAccount, log: ImportLog, form: str, descriptor: int, name: str) -> None:
    await account.open("mbox", 0)
    mailbox = await account.mailbox(name)
    if mailbox is None:
        raise ConfigError(f"{name} can be named with both recovery keys alone: give them, or --folder INBOX")
    number, uid_last, keeps = 0, 0, False
    async with MailReader(road, form, descriptor) as reader:
        while not isinstance((heard := await reader.hear())[0], MailEnd):
            said, octets = heard
            number += 1
            if isinstance(said, Bad):
                account.tally.bad += 1
                log.tell(f"message {number}", said.reason)
            elif isinstance(said, Letter):
                if number == 1:
                    mailbox, keeps = await account.take_validity(mailbox, said.uid_validity)
                    uid_last = said.uid_last
                await account.add(mailbox, b"%d" % number, said, octets, said.date, said.uid if keeps else 0, "")
    if keeps:
        await account.take_uid_next(mailbox, uid_last + 1)


class _Maildir:
    """One Maildir."""

    def __init__(self, road: Road, account: ImportAccount, log: ImportLog, path: Path) -> None:
        self._road, self._account, self._log, self._path = road, account, log, path

    async def run(self) -> None:
        """INBOX, then every folder below it, by name."""
        root = os.open(self._path, _FOLDER)
        try:
            folders = [b"", *sorted(self._folders(root))[:FOLDERS_MAX]]
            await self._account.open("maildir", sum(1 for folder in folders for _ in self._names(root, folder)))
            for folder in folders:
                await self._folder(root, folder)
            await self._subscribe(root)
        finally:
            os.close(root)

    def _folders(self, root: int) -> Iterator[bytes]:
        with os.scandir(root) as entries:
            for entry in entries:
                if entry.name.startswith(".") and entry.name not in (".", "..") and entry.is_dir(follow_symlinks=False):
                    yield os.fsencode(entry.name)

    def _names(self, root: int, folder: bytes) -> Iterator[tuple[int, bytes]]:
        for at, part in enumerate((b"cur", b"new")):
            descriptor = _open_below(root, folder, part)
            if descriptor is None:
                continue
            try:
                with os.scandir(descriptor) as entries:
                    for number, entry in enumerate(entries):
                        if number == FILES_MAX:
                            self._bad(folder + b"/" + part, f"has more than {FILES_MAX} files")
                            break
                        yield at, os.fsencode(entry.name)
            finally:
                os.close(descriptor)

    async def _subscribe(self, root: int) -> None:
        text = _read_below(root, b"", b"subscriptions", TEXT_MAX)
        if text:
            async with MailReader(self._road, "maildir") as reader:
                async for said in reader.told(Ask.SUBSCRIPTIONS, b"", text):
                    if isinstance(said, Names):
                        await self._account.subscribe(said.names)
                    break

    async def _folder(self, root: int, folder: bytes) -> None:
        async with MailReader(self._road, "maildir") as reader:
            name = INBOX
            if folder:
                async for said in reader.told(Ask.FOLDER, folder, b""):
                    name = said.name if isinstance(said, Folder) else ""
                    break
            if not name:
                return self._bad(folder, "no mailbox can have this name")
            mailbox = await self._account.mailbox(name)
            if mailbox is None:
                return self._bad(folder, "a mailbox other than INBOX needs both recovery keys: run again with them")
            uids, validity, uid_next = await self._uids(
                reader, _read_below(root, folder, b"dovecot-uidlist", LISTS_MAX)
            )
        mailbox, keeps = await self._account.take_validity(mailbox, validity)
        files = sorted(
            (_File(part, base, *uids.get(base.partition(b":")[0], (LAST_UID, ""))) for part, base in
             self._names(root, folder)),
            key=lambda file: (file.uid, file.name),
        )  # fmt: skip
        await _Reading(self, root, folder, files).run(
            lambda file, letter, octets, date: self._account.add(
                mailbox, folder + b"/" + file.base, letter, octets, date,
                file.uid if keeps and file.uid < LAST_UID else 0, file.uidl,
            )
        )  # fmt: skip
        if keeps:
            await self._account.take_uid_next(mailbox, uid_next)
        return None

    async def _uids(self, reader: MailReader, text: bytes) -> tuple[dict[bytes, tuple[int, str]], int, int]:
        """UID and unique-id by file's name; UIDVALIDITY, UIDNEXT."""
        found: dict[bytes, tuple[int, str]] = {}
        validity = uid_next = 0
        if text:
            async for said in reader.told(Ask.UIDS, b"", text):
                if not isinstance(said, UidLines) or not said.lines:
                    break
                found.update({name: (uid, uidl) for uid, name, uidl in said.lines})
                validity, uid_next = said.uid_validity, said.uid_next
        return found, validity, uid_next

    def _bad(self, what: bytes, why: str) -> None:
        self._account.tally.bad += 1
        self._log.tell(printable(what.decode("utf-8", "replace") or "INBOX"), why)


_Take = Callable[[_File, Letter, bytes, int], Coroutine[Any, Any, None]]


class _Reading:
    """The messages of a folder through the reader, a few ahead; a file that ends the reader is passed over."""

    def __init__(self, maildir: _Maildir, root: int, folder: bytes, files: list[_File]) -> None:
        self._maildir, self._root, self._folder, self._files = maildir, root, folder, files
        self._next = 0

    async def run(self, take: _Take) -> None:
        keywords = _read_below(self._root, self._folder, b"dovecot-keywords", TEXT_MAX)
        while self._next < len(self._files):
            try:
                async with MailReader(self._maildir._road, "maildir") as reader:
                    async for _ in reader.told(Ask.KEYWORDS, b"", keywords):
                        break
                    await self._some(reader, take)
            except PeerError as error:
                self._maildir._bad(self._place(self._files[self._next]), error.public)
                self._next += 1

    def _place(self, file: _File) -> bytes:
        return b"/".join(part for part in (self._folder, (b"cur", b"new")[file.part], file.name) if part)

    async def _some(self, reader: MailReader, take: _Take) -> None:
        given: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue(AHEAD)
        giving = asyncio.create_task(self._give(reader, given))
        try:
            while (item := await given.get()) is not None:
                at, date = item
                self._next = at
                said, octets = await reader.hear()
                file = self._files[at]
                if isinstance(said, Letter):
                    await take(file, said, octets, date)
                else:
                    why = said.reason if isinstance(said, Bad) else "the reader said something else"
                    self._maildir._bad(self._place(file), why)
                self._next = at + 1
            await giving
            self._next = len(self._files)
        finally:
            giving.cancel()
            await asyncio.wait([giving])

    async def _give(self, reader: MailReader, given: "asyncio.Queue[tuple[int, int] | None]") -> None:
        try:
            for at in range(self._next, len(self._files)):
                file = self._files[at]
                found = _read_message(self._root, self._folder, file)
                if isinstance(found, str):
                    self._maildir._bad(self._place(file), found)
                    continue
                octets, date = found
                await given.put((at, date))
                await reader.ask(Ask.MESSAGE, file.name[:255], octets)
        finally:
            await given.put(None)


def _read_message(root: int, folder: bytes, file: _File) -> tuple[bytes, int] | str:
    """Octets and time of a plain file; else why not."""
    descriptor = _open_below(root, folder, (b"cur", b"new")[file.part])
    if descriptor is None:
        return "its directory is gone"
    try:
        opened = os.open(file.name, _OPEN, dir_fd=descriptor)
    except OSError as error:
        return f"cannot be opened: {error.strerror}"
    finally:
        os.close(descriptor)
    try:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            return "is no plain file"
        if status.st_size > MESSAGE_MAX:
            return "is larger than a message may be here"
        with os.fdopen(opened, "rb", closefd=False) as stream:
            octets = stream.read(MESSAGE_MAX + 1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    finally:
        os.close(opened)
    if len(octets) > MESSAGE_MAX:
        return "is larger than a message may be here"
    return octets, max(int(status.st_mtime), 0)


def _open_below(root: int, folder: bytes, part: bytes) -> int | None:
    """A directory of a folder that is one itself, and no link."""
    try:
        if not folder:
            return os.open(part, _FOLDER, dir_fd=root)
        above = os.open(folder, _FOLDER, dir_fd=root)
        try:
            return os.open(part, _FOLDER, dir_fd=above)
        finally:
            os.close(above)
    except OSError:
        return None


def _read_below(root: int, folder: bytes, name: bytes, limit: int) -> bytes:
    """A list of a folder; empty where there is none, or it is no plain file or too large."""
    try:
        above = os.open(folder, _FOLDER, dir_fd=root) if folder else os.dup(root)
    except OSError:
        return b""
    try:
        opened = os.open(name, _OPEN, dir_fd=above)
    except OSError:
        return b""
    finally:
        os.close(above)
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            return b""
        with os.fdopen(opened, "rb", closefd=False) as stream:
            text = stream.read(limit + 1)
        return text if len(text) <= limit else b""
    except OSError:
        return b""
    finally:
        os.close(opened)
