"""Mailbox keys for an export: without K_ring's seal, so that both recovery keys, and nothing less, open them."""

import asyncio

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_keyring import EXPORTED_KEYS_MAX, ExportedKey, ExportedKeys, ExportKeys
from bulkhead.errors import Refused
from bulkhead.holder.database import Database
from bulkhead.holder.witness import witness
from bulkhead.identifiers import ID_BYTES, AccountId
from bulkhead.keyring.keys import Keys

_ROWS = "SELECT generation, record, binding FROM mailbox WHERE mid = ? ORDER BY generation DESC LIMIT ?"


async def export_keys(database: Database, keys: Keys, exchange: Exchange, request: ExportKeys) -> ExportedKeys:
    """As many accounts as fit one reply, at least one. Raises Refused (`bad-account`), TemporaryFailure without ledger.

    Of an account with more than 256 generations the newest 256.
    """
    if len(request.accounts) % ID_BYTES:
        raise Refused("an account id has 16 bytes", code="bad-account")
    accounts = [request.accounts[at : at + ID_BYTES] for at in range(0, len(request.accounts), ID_BYTES)]
    await witness(exchange, request.stamp, "MailboxKeysExported", {"accounts": len(accounts)})
    found: list[ExportedKey] = []
    for done, account in enumerate(map(AccountId, accounts)):
        mid = keys.mid(account)
        rows = database.read(_ROWS, (mid, EXPORTED_KEYS_MAX))
        if len(found) + len(rows) > EXPORTED_KEYS_MAX:
            return ExportedKeys(tuple(found), done)
        for generation, record, binding in reversed(rows):
            sealed = keys.open_mailbox(record, mid, generation).encode()
            found.append(ExportedKey(account, generation, sealed, binding))
        if done % 32 == 31:
            await asyncio.sleep(0)
    return ExportedKeys(tuple(found), len(accounts))
