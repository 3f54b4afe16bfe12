"""fsck of auth, and the counts for exposure: both open every record, a slice at a time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from bulkhead.auth.rows import Keys
from bulkhead.boundary.messages.to_auth import AuthReport, SchemeCount
from bulkhead.errors import IntegrityError
from bulkhead.holder.database import Database
from bulkhead.records.halves import AuthHalf
from bulkhead.records.record import Kind, read_header

SLICE = 500
PROBLEMS_MAX = 100
SCHEMES_MAX = 256


async def check_records(database: Database, keys: Keys) -> AuthReport:
    """How many records there are, and those that do not open."""
    records = 0
    problems: list[str] = []
    async for bid, opened, _ in _every(database, keys):
        records += 1
        if isinstance(opened, IntegrityError) and len(problems) < PROBLEMS_MAX:
            problems.append(f"row {bid.hex()}: {opened.public}")
    return AuthReport(records, tuple(problems))


async def count_schemes(database: Database, keys: Keys) -> tuple[SchemeCount, ...]:
    """Credentials by scheme and cost, state and key version; those that do not open under the scheme `unreadable`."""
    counts: Counter[tuple[str, int, int]] = Counter()
    async for _, opened, version in _every(database, keys):
        if isinstance(opened, IntegrityError):
            counts["unreadable", 0, version] += 1
        else:
            counts[_scheme(opened), opened.state.value, version] += 1
    return tuple(SchemeCount(*key, count) for key, count in counts.most_common(SCHEMES_MAX))


async def _every(database: Database, keys: Keys) -> AsyncIterator[tuple[bytes, AuthHalf | IntegrityError, int]]:
    """(row key, half or why it does not open, key version) of every row."""
    last = b""
    page = "SELECT bid, g, record FROM half WHERE bid > ? ORDER BY bid LIMIT ?"
    while rows := database.read(page, (last, SLICE)):
        for bid, g, record in rows:
            version = 0
            try:
                version = read_header(record, Kind.AUTH_HALF).key_version
                yield bid, keys.open(record, bid, g), version
            except IntegrityError as error:
                yield bid, error, version
        last = rows[-1][0]
        await asyncio.sleep(0)


def _scheme(half: AuthHalf) -> str:
    if half.parameters is None:
        return "hkdf"
    cost = half.parameters
    text = f"argon2id(m={cost.memory_kib},t={cost.time_cost},p={cost.lanes})"
    return f"{text}({half.legacy.scheme})"[:96] if half.legacy else text
