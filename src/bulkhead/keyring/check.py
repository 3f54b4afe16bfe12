"""fsck of keyring: every record opened under its version key, every binding verified. And the counts."""

import asyncio
from dataclasses import dataclass, field

from bulkhead.boundary.messages.to_keyring import KeyringReport
from bulkhead.errors import Error, IntegrityError
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId
from bulkhead.keyring.keys import Keys
from bulkhead.records.mailbox import Binding
from bulkhead.records.record import Kind
from bulkhead.records.signed import read_fields

SLICE = 200  # records between pauses
PROBLEMS_MAX = 100


@dataclass(slots=True)
class _Findings:
    records: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, row: bytes, error: Error) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(f"row {row.hex()}: {error.public}")


async def check_records(database: Database, keys: Keys) -> KeyringReport:
    """Open everything, a slice at a time."""
    found = _Findings()
    last: tuple[bytes, int] = (b"", -1)
    halves = "SELECT bid, g, record FROM half WHERE (bid, g) > (?, ?) ORDER BY bid, g LIMIT ?"
    while rows := database.read(halves, (*last, SLICE)):
        for bid, g, record in rows:
            try:
                keys.open_half(record, bid, g)
            except IntegrityError as error:
                found.add(bid, error)
        last = rows[-1][:2]
        found.records += len(rows)
        await asyncio.sleep(0)
    last = (b"", -1)
    mailboxes = (
        "SELECT mid, generation, record, binding FROM mailbox "
        "WHERE (mid, generation) > (?, ?) ORDER BY mid, generation LIMIT ?"
    )
    while rows := database.read(mailboxes, (*last, SLICE)):
        for mid, generation, record, binding in rows:
            try:
                keys.open_mailbox(record, mid, generation)
                _check_binding(keys, mid, generation, binding)
            except IntegrityError as error:
                found.add(mid, error)
        last = rows[-1][:2]
        found.records += len(rows)
        await asyncio.sleep(0)
    return KeyringReport(found.records, tuple(found.problems))


def _check_binding(keys: Keys, mid: bytes, generation: int, record: bytes) -> None:
    account = AccountId(read_fields(record, Kind.BINDING, 4)[1][1])
    bound = Binding(record).verify(keys.binding.public_key(), keys.tenant, account)
    if keys.mid(account) != mid or bound.generation != generation:
        raise IntegrityError("the binding is another account's")
