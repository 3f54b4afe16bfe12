"""The holders' keys into the escrow: asked for, noted by the ledger, written, each compartment's under its lock."""

import contextlib
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from types import ModuleType

from bulkhead.boundary.messages import to_auth, to_directory, to_incident, to_keyring, to_ledger, to_queue, to_store
from bulkhead.boundary.messages.backup import EscrowKeysBase
from bulkhead.cli.backup_receipt import receipt_of
from bulkhead.cli.escrow import escrow_folder, replace_escrow
from bulkhead.cli.road import Road, stamp
from bulkhead.cli.tenant_lock import alone, escrow_lock

MESSAGES: dict[str, ModuleType] = {
    "directory": to_directory,
    "auth": to_auth,
    "keyring": to_keyring,
    "store": to_store,
    "queue": to_queue,
    "ledger": to_ledger,
    "incident": to_incident,
}
"""Each holder's messages; those for backups have the same names and fields."""


async def escrow_keys(road: Road, compartments: Sequence[str] = tuple(MESSAGES)) -> None:
    """Put the sealed keys of these compartments where a restore elsewhere finds them, instead of the older ones.

    Under their locks: who destroys a version meanwhile comes before the keys are asked for, or after they are written.
    """
    async with contextlib.AsyncExitStack() as held:
        for compartment in sorted(compartments):
            await held.enter_async_context(alone(road.layout, escrow_lock(compartment)))
        await escrow_keys_held(road, compartments)


async def escrow_keys_held(road: Road, compartments: Sequence[str]) -> None:
    """The same for who holds the locks.

    The ledger notes them first, so that no file lies there that it does not know; the receipt of that lies beside.
    """
    folder = escrow_folder(road.installation, road.tenant.id)
    sealed: dict[str, bytes] = {}
    for compartment in compartments:
        name = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        request: EscrowKeysBase = MESSAGES[compartment].EscrowKeys(name)
        sealed[compartment] = (await road.ask(compartment, request)).stream
    digests = {compartment: hashlib.sha256(octets).digest() for compartment, octets in sealed.items()}
    entry = (await road.ask("ledger", to_ledger.RecordEscrow(stamp(), digests))).first
    receipt = (await receipt_of(road, entry)).encode()
    for compartment, octets in sealed.items():
        replace_escrow(folder, compartment, octets, receipt)
