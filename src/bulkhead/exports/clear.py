"""Exports of form 1, read alone: as sealed.py, but head and rows of an account are in clear and bound to nothing.

    head    msgpack of Head
    rows    pages, each behind its length as u32

Messages are sealed as ever. Nothing here shows who wrote head and rows: that the ledger noted the manifest does, so
whoever opens one names the manifest's SHA-256.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bulkhead.errors import IntegrityError
from bulkhead.exports.sealed import JSON_MAX, Head, RowPage, folder_of, read_limited
from bulkhead.exports.sealing import RecoveryKeys
from bulkhead.identifiers import TenantId

SCHEMA = 1
HEAD_MAX = 4 << 20  # octets
PAGE_MAX = 1 << 20  # octets of one page of rows
_LENGTH = struct.Struct(">I")
_head = msgspec.msgpack.Decoder(Head)
_page = msgspec.msgpack.Decoder(RowPage)


def is_clear(export: Path) -> bool:
    """Whether it says that it is of form 1."""
    try:
        found = json.loads(read_limited(export / "export.json", JSON_MAX))
        return isinstance(found, dict) and found.get("schema") == SCHEMA
    except (ValueError, RecursionError):
        return False


def read_head(folder: Path, _: TenantId, __: RecoveryKeys) -> Head:
    """What is said of the account. Raises IntegrityError."""
    try:
        head = _head.decode(read_limited(folder / "head", HEAD_MAX))
    except (msgspec.DecodeError, ValueError):
        raise IntegrityError(f"{folder / 'head'} is damaged") from None
    if folder_of(head.account) != f"accounts/{folder.parent.name}/{folder.name}":
        raise IntegrityError(f"{folder / 'head'} is another account's")
    return head


def read_rows(folder: Path, _: TenantId, __: RecoveryKeys) -> Iterator[RowPage]:
    """The pages of an account's rows. Raises IntegrityError."""
    path = folder / "rows"
    with path.open("rb") as stream:
        while raw := stream.read(_LENGTH.size):
            length = _LENGTH.unpack(raw)[0] if len(raw) == _LENGTH.size else PAGE_MAX + 1
            data = stream.read(length) if length <= PAGE_MAX else b""
            if len(data) != length:
                raise IntegrityError(f"{path} is cut off or damaged")
            try:
                yield _page.decode(data)
            except (msgspec.DecodeError, ValueError):
                raise IntegrityError(f"{path} is damaged") from None
