"""How a live ledger stands, for `status` and `doctor`: its newest entry, and how old the witness's cosignature is."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bulkhead.boundary.messages.to_ledger import ReadCheckpoint, ReadEntries
from bulkhead.cli.ledger import ledger_key
from bulkhead.cli.road import Road, wait_for
from bulkhead.config import Installation, Tenant
from bulkhead.errors import Error, IntegrityError
from bulkhead.ledger.event import parse_event
from bulkhead.ledger.note import VerifierKey, parse_note, parse_verifier_key, verify_checkpoint, verify_cosignature

SECONDS = 3.0
STALE_SECONDS = 3600.0  # a log that lives writes every ten minutes unless it is told otherwise
COSIGNED_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class LedgerState:
    """size: entries. newest: ms of the newest, 0 without one. cosigned: entries that the witness has seen, 0 for none.

    cosigned_at: POSIX seconds, 0 for none. Every number is from a checkpoint that verified.
    """

    size: int
    newest: int
    cosigned: int
    cosigned_at: int


def ledger_states(installation: Installation, tenants: Sequence[Tenant]) -> list[LedgerState | str]:
    """Of each tenant, in order; why not, where the ledger does not answer or what it says does not verify."""

    async def of(tenant: Tenant) -> LedgerState | str:
        try:
            async with asyncio.timeout(SECONDS), Road(installation, tenant) as road:
                return await _ask(road)
        except Error as error:
            return error.public
        except (OSError, TimeoutError):
            return "it does not answer"

    async def all_of() -> list[LedgerState | str]:
        return list(await asyncio.gather(*map(of, tenants)))

    return wait_for(all_of())


async def _ask(road: Road) -> LedgerState:
    key = ledger_key(road.tenant)
    answer = await road.ask("ledger", ReadCheckpoint(), timeout=SECONDS)
    size = verify_checkpoint(parse_note(answer.text.encode()), key.name, key).size
    entries = (await road.ask("ledger", ReadEntries(size - 1, 1), timeout=SECONDS)).entries if size else ()
    newest = parse_event(entries[0]).at if entries else 0
    cosigned, cosigned_at = _cosigned(road.tenant, key, answer.cosigned)
    return LedgerState(size, newest, cosigned, cosigned_at)


def _cosigned(tenant: Tenant, key: VerifierKey, text: str) -> tuple[int, int]:
    witness = tenant.settings.text("pinned.ledger_witness")
    if not witness or not text:
        return 0, 0
    note = parse_note(text.encode())
    return verify_checkpoint(note, key.name, key).size, verify_cosignature(note, parse_verifier_key(witness))


def as_row(state: LedgerState | str | None) -> dict[str, Any] | None:
    """As `status --json` prints it."""
    return asdict(state) if isinstance(state, LedgerState) else None


def witness_fault(tenant: Tenant) -> str:
    """What is wrong with the setting, or ""."""
    try:
        text = tenant.settings.text("pinned.ledger_witness")
        return "" if not text or parse_verifier_key(text).type.name == "COSIGNATURE" else "it is no witness's key"
    except IntegrityError as error:
        return error.public


def ledger_lines(tenant: str, state: LedgerState) -> Iterator[str]:
    """What is worth a line of `status`."""
    if state.cosigned_at:
        hours = max(0.0, time.time() - state.cosigned_at) / 3600
        yield f"{tenant}: {state.size:,} ledger entries, {state.cosigned:,} of them cosigned {hours:.1f} hours ago"
