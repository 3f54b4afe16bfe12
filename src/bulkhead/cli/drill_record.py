"""Puts what a drill found into the ledger of every tenant: hash of the document, and its counts."""

import hashlib
import time
from dataclasses import dataclass

from bulkhead.boundary.messages.to_ledger import RecordDrill
from bulkhead.cli.many import ask_all
from bulkhead.cli.road import stamp, wait_for
from bulkhead.config import Installation

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What the entry says beside the hash."""

    rows: int
    reached: int
    unproven: int
    over: int


def record_drill(
    installation: Installation, document: bytes, counts: Counts, *, live: bool, tenant: str = ""
) -> dict[str, int]:
    """Tenant to the index of its new entry; only that tenant where one is named.

    Raises the error of the first tenant that did not take it.
    """
    digest = hashlib.sha256(document).digest()
    now = time.time_ns() // 1_000_000
    request = RecordDrill(stamp(), now, digest, counts.rows, counts.reached, counts.unproven, counts.over, live)
    tenants = [t for t in installation.tenants.values() if not t.disabled and tenant in {"", t.id}]
    answers = wait_for(ask_all(installation, tenants, [("ledger", request)], SECONDS))
    for answer in answers:
        if answer.error is not None:
            raise answer.error
    return {answer.tenant: answer.reply.first for answer in answers}
