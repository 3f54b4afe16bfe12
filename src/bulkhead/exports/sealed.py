"""A sealed export on disk: what is in it, who writes it in which order, and why a cut leaves nothing half.

    DIR/export.json                 tenant, when it was begun; `manifest`: its SHA-256, once the export is whole
    DIR/manifest                    a line for each account: SHA-256 of its `sums`, two spaces, its folder
    DIR/cell/                       what a whole export has beside mail (cell.py)
    DIR/accounts/xx/acc_.../head    address, status, keys, sealed names of mailboxes, keywords and subscriptions
                           /rows    pages of message rows
                           /parts   sealed headers and bodies, one after another, only ever appended to
                           /index   EmailId, offset u64, size u32 (big-endian) of each, once its parts are synced
                           /sums    SHA-256 and size of these four; written last

`head` and `rows` are sealed to both recovery keys (sealing.py). Where `sums` is missing the account is not whole. Parts
that the index does not name are cut off by the next run.
"""

import hashlib
import json
import os
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U63, AccountId, AddressText, MailboxId, Millis, Reply
from bulkhead.boundary.messages.to_keyring import EXPORTED_KEYS_MAX, ExportedKey
from bulkhead.boundary.messages.to_store import MAILBOXES_MAX, ROWS_MAX, ExportedRow, MailboxRow, NamedRow
from bulkhead.durable import sync_folder
from bulkhead.errors import ConfigError, Error, IntegrityError
from bulkhead.exports.sealing import HEAD, ROWS, RecoveryKeys, Seals, open_stream, sealed_file
from bulkhead.identifiers import ID_BYTES, TenantId, format_id
from bulkhead.records.backup import StreamSealer

SCHEMA = 2
FILTERS_MAX = 64
LINE_MAX = 256  # octets of a line of the manifest
JSON_MAX = 64 << 10
SYNC_BYTES = 32 << 20  # parts between two syncs
BLOCK = 1 << 20
FILES = ("head", "rows", "parts", "index")
CELL = "cell"
_ENTRY = struct.Struct(">16sQI")
_MODE = 0o600


class Head(Reply, frozen=True):
    """One account."""

    account: AccountId
    address: AddressText
    status: U8
    quota_bytes: U63
    created: Millis
    keys: Annotated[tuple[ExportedKey, ...], Meta(max_length=EXPORTED_KEYS_MAX)]
    mailboxes: Annotated[tuple[MailboxRow, ...], Meta(max_length=MAILBOXES_MAX)]
    keywords: Annotated[tuple[NamedRow, ...], Meta(max_length=MAILBOXES_MAX)]
    subscriptions: Annotated[tuple[NamedRow, ...], Meta(max_length=MAILBOXES_MAX)]
    filters: Annotated[
        tuple[bytes, ...], Meta(max_length=FILTERS_MAX)
    ] = ()  # none in this version: there are no filters


class RowPage(Reply, frozen=True):
    """Some messages of one mailbox, in UID order."""

    mailbox: MailboxId
    rows: Annotated[tuple[ExportedRow, ...], Meta(max_length=ROWS_MAX)]


_head = msgspec.msgpack.Decoder(Head)
_page = msgspec.msgpack.Decoder(RowPage)


@dataclass(frozen=True, slots=True)
class PartsPlace:
    """Where a message's sealed header and body lie in `parts`."""

    offset: int
    size: int


def folder_of(account: bytes) -> str:
    """The folder of an account, relative to the export."""
    text = format_id("acc", account)
    return f"accounts/{text[4:6]}/{text}"


def open_new(path: Path, *, append: bool = False) -> IO[bytes]:
    """A file of ours, for its owner alone; no symbolic link is followed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if append else os.O_TRUNC)
    return os.fdopen(os.open(path, flags, _MODE), "r+b")


def write_whole(path: Path, data: bytes) -> None:
    """The file with just these octets, durably, or as it was before."""
    new = path.with_name(path.name + ".new")
    with open_new(new) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(path)
    sync_folder(path.parent)


def digest_of(path: Path) -> tuple[int, str]:
    """Size and SHA-256."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def read_limited(path: Path, limit: int) -> bytes:
    """The whole file. Raises IntegrityError over the limit or where it is missing."""
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing from the export") from None
    if len(data) > limit:
        raise IntegrityError(f"{path} is larger than anything this version writes")
    return data


class AccountWriter:
    """Writes one account's folder, on from where it was cut. Use as a context."""

    def __init__(self, export: Path, account: bytes, seals: Seals) -> None:
        self._account, self._seals = account, seals
        self._sealer: StreamSealer | None = None  # of the rows
        self.folder = export / folder_of(account)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "sums").unlink(missing_ok=True)
        self._parts = open_new(self.folder / "parts", append=True)
        self._index = open_new(self.folder / "index", append=True)
        self._rows: IO[bytes] | None = None
        self._waiting: list[bytes] = []  # entries whose parts are not synced
        self.places = self._go_on()

    def __enter__(self) -> "AccountWriter":
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._parts, self._index, self._rows):
            if stream is not None:
                stream.close()

    def _go_on(self) -> dict[bytes, PartsPlace]:
        places: dict[bytes, PartsPlace] = {}
        end = whole = 0
        while len(entry := self._index.read(_ENTRY.size)) == _ENTRY.size:
            email, offset, size = _ENTRY.unpack(entry)
            if offset != end:
                break
            places[email] = PartsPlace(offset, size)
            end, whole = offset + size, whole + _ENTRY.size
        if self._parts.seek(0, os.SEEK_END) < end:  # another hand was here: begin anew
            places, end, whole = {}, 0, 0
        for stream, size in ((self._parts, end), (self._index, whole)):
            stream.truncate(size)
            stream.seek(size)
        self._end = self._synced = end
        return places

    def begin_rows(self) -> None:
        """Rows from the first on."""
        if self._rows is not None:
            self._rows.close()
        self._rows = open_new(self.folder / "rows")
        self._sealer = self._seals.stream(self._account, ROWS)
        self._rows.write(self._sealer.begin())

    def add_rows(self, page: RowPage) -> None:
        """One page more."""
        if self._rows is None or self._sealer is None:
            raise ValueError("no rows were begun")
        data = msgspec.msgpack.encode(page)
        self._rows.writelines((*self._sealer.file("page", len(data)), *self._sealer.update(data)))

    async def add_parts(self, email: bytes, size: int, pieces: AsyncIterator[bytes]) -> None:
        """The sealed parts of one message, `size` octets. Raises IntegrityError where they are not as many."""
        offset, left = self._end, size
        async for piece in pieces:
            self._parts.write(piece)
            left -= len(piece)
        if left:
            self._parts.seek(offset)
            self._parts.truncate(offset)
            raise IntegrityError("store sent parts of another size than it said")
        self._end += size
        self.places[email] = PartsPlace(offset, size)
        self._waiting.append(_ENTRY.pack(email, offset, size))
        if self._end - self._synced >= SYNC_BYTES:
            self._sync()

    def _sync(self) -> None:
        self._parts.flush()
        os.fdatasync(self._parts.fileno())
        self._index.write(b"".join(self._waiting))
        self._index.flush()
        os.fdatasync(self._index.fileno())
        self._waiting, self._synced = [], self._end

    def finish(self, head: Head) -> bytes:
        """The account is whole: the SHA-256 of its sums."""
        self._sync()
        if self._rows is not None and self._sealer is not None:
            self._rows.writelines(self._sealer.end())
            self._rows.flush()
            os.fdatasync(self._rows.fileno())
        octets = sealed_file(self._seals.stream(self._account, HEAD), HEAD, msgspec.msgpack.encode(head))
        write_whole(self.folder / "head", octets)
        sums = {name: dict(zip(("size", "sha256"), digest_of(self.folder / name), strict=True)) for name in FILES}
        data = json.dumps({"schema": SCHEMA, "files": sums}, sort_keys=True).encode("ascii")
        write_whole(self.folder / "sums", data)
        sync_folder(self.folder.parent)
        sync_folder(self.folder.parent.parent)
        return hashlib.sha256(data).digest()


def read_rows(folder: Path, tenant: TenantId, keys: RecoveryKeys) -> Iterator[RowPage]:
    """The pages of an account's rows. Raises IntegrityError, Refused (`wrong-key`)."""
    for data in open_stream(folder / "rows", tenant, ROWS, keys, of=folder.name):
        try:
            yield _page.decode(data)
        except msgspec.DecodeError:
            raise IntegrityError(f"{folder / 'rows'} is damaged") from None


def read_places(path: Path) -> dict[bytes, PartsPlace]:
    """The index of an account."""
    places: dict[bytes, PartsPlace] = {}
    with path.open("rb") as stream:
        while len(entry := stream.read(_ENTRY.size)) == _ENTRY.size:
            email, offset, size = _ENTRY.unpack(entry)
            places[email] = PartsPlace(offset, size)
    return places


def read_head(folder: Path, tenant: TenantId, keys: RecoveryKeys) -> Head:
    """What is said of the account. Raises IntegrityError, Refused (`wrong-key`)."""
    try:
        (data,) = open_stream(folder / "head", tenant, HEAD, keys, of=folder.name)
        head = _head.decode(data)
    except (msgspec.DecodeError, ValueError):
        raise IntegrityError(f"{folder / 'head'} is damaged") from None
    if folder_of(head.account) != f"accounts/{folder.parent.name}/{folder.name}":
        raise IntegrityError(f"{folder / 'head'} is another account's")
    return head


def check_account(folder: Path, sums_digest: str) -> None:
    """Raises IntegrityError where a file is not the one that was written."""
    data = read_limited(folder / "sums", JSON_MAX)
    if hashlib.sha256(data).hexdigest() != sums_digest:
        raise IntegrityError(f"{folder / 'sums'} is not the one that the manifest names")
    try:
        files = json.loads(data)["files"]
        expected = {name: (int(files[name]["size"]), str(files[name]["sha256"])) for name in FILES}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise IntegrityError(f"{folder / 'sums'} is of no form that this version knows") from None
    for name, sums in expected.items():
        try:
            found = digest_of(folder / name)
        except OSError:
            raise IntegrityError(f"{folder / name} is missing or cannot be read") from None
        if found != sums:
            raise IntegrityError(f"{folder / name} is not what was exported")


class Manifest:
    """export.json and manifest of one export, as its writer goes on."""

    def __init__(self, export: Path, tenant: str, begun: int) -> None:
        self.export, self.tenant = export, tenant
        self.path = export / "manifest"
        self.done: set[str] = set()
        export.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = _read_json(export / "export.json") if (export / "export.json").exists() else None
        if found is None and any(export.iterdir()):
            raise ConfigError(f"{export} is neither empty nor an export; name another directory")
        if found is not None and found.get("tenant") != tenant:
            raise ConfigError(f"{export} is an export of {found.get('tenant')}; name another directory")
        if found is None or found.get("manifest"):  # a new one, or one that brings a whole one up to date
            self._write_json({"begun": begun})
            self.path.unlink(missing_ok=True)
        else:
            self.done = {folder for _, folder in manifest_lines(self.path)} if self.path.exists() else set()
        self._stream = open_new(self.path, append=True)
        whole = sum(len(_line(digest, folder)) for digest, folder in manifest_lines(self.path))
        self._stream.truncate(whole)
        self._stream.seek(whole)

    def add(self, account: bytes, sums: bytes) -> None:
        """An account is whole."""
        folder = folder_of(account)
        self._stream.write(_line(sums.hex(), folder))
        self._stream.flush()
        os.fdatasync(self._stream.fileno())
        self.done.add(folder)

    def finish(self, whole: dict[str, Any], cell: str = "") -> bytes:
        """All of them are: the manifest's SHA-256. cell: that of the sums of `cell`, if it is there."""
        if cell:
            self._stream.write(_line(cell, CELL))
        self._stream.flush()
        os.fdatasync(self._stream.fileno())
        self._stream.close()
        sync_folder(self.export)
        digest = digest_of(self.path)[1]
        self._write_json({**whole, "manifest": digest})
        return bytes.fromhex(digest)

    def _write_json(self, fields: dict[str, Any]) -> None:
        document = {"schema": SCHEMA, "tenant": self.tenant, **fields}
        write_whole(self.export / "export.json", json.dumps(document, indent=1).encode("ascii") + b"\n")


def _line(digest: str, folder: str) -> bytes:
    return f"{digest}  {folder}\n".encode("ascii")


def _read_json(path: Path, form: int = SCHEMA) -> dict[str, Any]:
    try:
        found = json.loads(read_limited(path, JSON_MAX))
        if not isinstance(found, dict) or found["schema"] != form or not isinstance(found["tenant"], str):
            raise ValueError("another schema")
    except (ValueError, KeyError, RecursionError):
        raise ConfigError(f"{path} is of no form that this version knows") from None
    return found


def manifest_lines(path: Path) -> Iterator[tuple[str, str]]:
    """SHA-256 and folder of each account. Raises IntegrityError; a last line that was cut off is left out."""
    return ((digest, folder) for digest, folder in _all_lines(path) if folder != CELL)


def cell_digest(path: Path) -> str:
    """SHA-256 of what names the files of `cell`; empty where the export has accounts alone. Raises IntegrityError."""
    return next((digest for digest, folder in _all_lines(path) if folder == CELL), "")


def _all_lines(path: Path) -> Iterator[tuple[str, str]]:
    with path.open("rb") as stream:
        while line := stream.readline(LINE_MAX):
            if not line.endswith(b"\n"):
                return
            digest, _, folder = line.decode("ascii", "replace").removesuffix("\n").partition("  ")
            if len(digest) != 64 or (folder != CELL and folder != _checked_folder(folder)):
                raise IntegrityError(f"{path} has a line of no form that this version writes")
            yield digest, folder


def _checked_folder(folder: str) -> str:
    """The only form that a folder has: what a manifest says leads nowhere else."""
    from bulkhead.identifiers import parse_id

    try:
        account = parse_id("acc", folder.rpartition("/")[2])
    except Error:
        return ""
    return folder_of(account) if len(account) == ID_BYTES else ""


def read_export(export: Path, form: int = SCHEMA) -> tuple[str, str]:
    """Tenant and SHA-256 of the manifest. Raises IntegrityError where the export is not whole or was changed."""
    found = _read_json(export / "export.json", form)
    digest = found.get("manifest")
    if not isinstance(digest, str):
        raise IntegrityError(f"{export} is not whole: run `bulkhead export make` to its end first")
    if digest_of(export / "manifest")[1] != digest:
        raise IntegrityError(f"{export / 'manifest'} is not the one that export.json names")
    return found["tenant"], digest
