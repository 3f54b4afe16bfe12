"""A list of all of a tenant's addresses, sealed to the partner's recovery key alone, and what changed between two.

A stream in the form of a backup's (docs/formats.md) whose two shares are both for the partner's key. Its files are
pages of JSON Lines, in order of address, then groups. Whoever has no key reads tenant, time and size.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bulkhead.boundary.messages.to_directory import BindingEntry
from bulkhead.errors import IntegrityError
from bulkhead.exports.sealing import whole_files
from bulkhead.identifiers import ID_BYTES, AccountId, TenantId, parse_address
from bulkhead.records.backup import LEAD_MAX, Head, PrivateKeys, Recipients, StreamOpener, StreamSealer, read_lead
from bulkhead.records.mailbox import Binding, RecoveryKey
from bulkhead.records.recovery_file import RecoveryPrivateKey

COMPARTMENT, CONTENT = "export", "bindings"
PIECE = 1 << 18
PAGE_MAX = 1 << 20  # octets of one page
KINDS = {1: "main", 2: "alias", 3: "retired", 4: "group"}
Row = dict[str, Any]


def sealer_of(tenant: TenantId, partner: RecoveryKey, created: int, build: str) -> StreamSealer:
    """A new list. created: ms."""
    return StreamSealer(Head(tenant, COMPARTMENT, "bindings", CONTENT, created, build), Recipients(partner, partner))


def page_of(entries: Iterable[BindingEntry]) -> bytes:
    """A page's JSON Lines."""
    return b"".join(json.dumps(_row(entry), sort_keys=True).encode() + b"\n" for entry in entries)


def pages_of(path: Path, tenant: TenantId, key: RecoveryPrivateKey, content: str) -> Iterator[bytes]:
    """Pages of a stream for the partner's key. Raises IntegrityError: another file, another key, changed octets."""
    with path.open("rb") as stream:
        sealed = read_lead(stream.read(LEAD_MAX))
        head = sealed.head
        if (head.tenant, head.compartment, head.content) != (tenant, COMPARTMENT, content):
            raise IntegrityError(f"{path} is no file of {tenant}'s {content}")
        stream.seek(sealed.length)
        opener = StreamOpener(sealed, PrivateKeys(key.private_key, key.private_key))
        yield from whole_files(opener.files(iter(lambda: stream.read(PIECE), b"")))


def read_rows(path: Path, tenant: TenantId, key: RecoveryPrivateKey) -> Iterator[Row]:
    """Rows of a list, in order. Raises IntegrityError as pages_of does, and where it is out of order."""
    last = (False, "")
    for page in pages_of(path, tenant, key, CONTENT):
        for line in page.splitlines():
            row = json.loads(line)
            place = place_of(row)
            if place <= last:
                raise IntegrityError(f"{path} is not in order")
            last = place
            yield row


def place_of(row: Row) -> tuple[bool, str]:
    """By what rows are in order: addresses of accounts, then groups."""
    return row["kind"] == "group", parse_address(row["address"]).key


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of one address. before, after: None where there was none."""

    before: Row | None
    after: Row | None

    @property
    def address(self) -> str:
        """Which."""
        return str((self.after or self.before or {})["address"])

    @property
    def what(self) -> str:
        """`added`, `taken away`, or names of the fields that changed."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "taken away"
        names = sorted(name for name in self.after if self.after[name] != self.before.get(name) and name != "record")
        return ",".join(names)


def differences(old: Iterator[Row], new: Iterator[Row]) -> Iterator[Difference]:
    """Rows of two lists side by side, in constant memory."""
    one, other = next(old, None), next(new, None)
    while one is not None or other is not None:
        first = None if one is None else place_of(one)
        second = None if other is None else place_of(other)
        if second is None or (first is not None and first < second):
            yield Difference(one, None)
            one = next(old, None)
        elif first is None or second < first:
            yield Difference(None, other)
            other = next(new, None)
        else:
            if one != other:
                yield Difference(one, other)
            one, other = next(old, None), next(new, None)


def check_row(row: Row, tenant: TenantId, pinned: Ed25519PublicKey) -> bool:
    """Whether the row has a binding, which keyring signed for its account. Raises IntegrityError."""
    if not row["record"]:
        return False
    record, account = base64.b64decode(row["record"]), bytes.fromhex(row["account"])
    if hashlib.sha256(record).hexdigest() != row["binding"] or len(account) != ID_BYTES:
        raise IntegrityError("a binding is not the one that its digest names")
    Binding(record).verify(pinned, tenant, AccountId(account))
    return True


def _row(entry: BindingEntry) -> Row:
    row: Row = {"address": entry.address, "kind": KINDS[entry.kind]}
    if entry.kind == 4:
        return row | {"members": [account.hex() for account in entry.members], "record": "", "account": ""}
    row |= {"account": entry.account.hex(), "record": ""}
    if entry.kind != 1:
        return row
    return row | {
        "status": entry.status, "off": entry.closed, "forwards": list(entry.forwards), "keep": entry.keep,
        "binding": hashlib.sha256(entry.record).hexdigest() if entry.record else "",
        "record": base64.b64encode(entry.record).decode("ascii"),
    }  # fmt: skip
