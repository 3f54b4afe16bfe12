"""Recovery: both parties re-seal their shares to a one-time key; the seed opens for one new password.

keyring makes a key pair for the order, which lives 120 seconds, and signs its public half. Each party opens its share
and seals it again to that key. Only here do both shares meet. The ledger has the event before a token is given.
"""

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from sqlite3 import Connection

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_keyring import BeginRecovery, GrantRecovery, RecoveryOffer, RecoveryToken
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.holder.database import Database
from bulkhead.holder.witness import witness
from bulkhead.identifiers import AccountId, new_id
from bulkhead.keyring.keys import Keys
from bulkhead.keyring.tokens import Tokens
from bulkhead.records.mailbox import Binding, Holder, MailboxRecord, OrderKey, open_resealed, sign_order_key
from bulkhead.records.seed import MailboxSeed

ORDER_SECONDS = 120.0
RECOVERIES_PER_DAY = 100  # of a tenant, from 00:00 UTC
DAY = 86_400


@dataclass(frozen=True, slots=True)
class _Order:
    """An order under way."""

    key: OrderKey
    private_key: X25519PrivateKey = field(repr=False)
    offer: RecoveryOffer = field(repr=False)
    request_id: bytes


class Recovery:
    """Orders under way, in memory only."""

    def __init__(self, database: Database, keys: Keys, tokens: Tokens, exchange: Exchange) -> None:
        self._database, self._keys, self._tokens, self._exchange = database, keys, tokens, exchange
        self._orders: dict[bytes, _Order] = {}

    async def begin(self, request: BeginRecovery) -> RecoveryOffer:
        """What both parties need. Raises Refused (`no-such-account`, `too-many`)."""
        for order in self._orders.values():
            if order.request_id == request.stamp.request_id:
                return order.offer
        keys, account = self._keys, request.account
        generation, record, _ = self._mailbox(account)
        await self._database.write(partial(_count, day=int(time.time()) // DAY))
        number, private_key = new_id(), X25519PrivateKey.generate()
        public_key = private_key.public_key()
        signed = sign_order_key(
            public_key, keys.binding, keys.tenant, account, generation, number, key_version=keys.binding_version
        )
        offer = RecoveryOffer(number, generation, signed, record.share_1, record.share_2)
        order_key = OrderKey(keys.tenant, account, generation, number, public_key)
        self._orders[number] = _Order(order_key, private_key, offer, request.stamp.request_id)
        asyncio.get_running_loop().call_later(ORDER_SECONDS, self._orders.pop, number, None)
        return offer

    async def grant(self, request: GrantRecovery) -> RecoveryToken:
        """A token for one new password. Raises Refused (`bad-shares`), TemporaryFailure without ledger.

        An order serves once; where only the ledger is missing it may be tried again while it lives.
        """
        token = self._tokens.issued(request.stamp.request_id)
        if token is not None:
            return RecoveryToken(token)
        order = self._orders.pop(request.order, None)
        if order is None or order.key.account != request.account:
            raise Refused("no such recovery is under way: begin again", code="bad-shares")
        seed = self._open(order, request)
        try:
            details: dict[str, str | int | bool | None] = {"order": request.order.hex(), "generation": seed.generation}
            await witness(self._exchange, request.stamp, "RecoveryUsed", details, request.account)
        except TemporaryFailure:
            self._orders[request.order] = order
            asyncio.get_running_loop().call_later(ORDER_SECONDS / 2, self._orders.pop, request.order, None)
            raise
        self._mailbox(request.account)  # it may have been destroyed meanwhile
        return RecoveryToken(self._tokens.issue(request.stamp.request_id, seed))

    def _open(self, order: _Order, request: GrantRecovery) -> MailboxSeed:
        key = order.key
        generation, record, binding = self._mailbox(key.account)
        try:
            share_1 = open_resealed(request.resealed_s1, Holder.PARTNER, order.private_key, key)
            share_2 = open_resealed(request.resealed_s2, Holder.OPERATOR, order.private_key, key)
            seed = record.open_by_shares(key.tenant, key.account, key.generation, share_1, share_2)
            bound = Binding(binding).verify(self._keys.binding.public_key(), key.tenant, key.account)
        except IntegrityError:
            raise Refused("the shares do not open this mailbox: begin again", code="bad-shares") from None
        if generation != key.generation or bound.public_key.public_bytes_raw() != seed.message_public_key():
            raise Refused("the shares are of another generation: begin again", code="bad-shares")
        return seed

    def _mailbox(self, account: AccountId) -> tuple[int, MailboxRecord, bytes]:
        mid = self._keys.mid(account)
        newest = "SELECT generation, record, binding FROM mailbox WHERE mid = ? ORDER BY generation DESC LIMIT 1"
        row = self._database.first(newest, (mid,))
        if row is None:
            raise Refused("no such account", code="no-such-account")
        generation, record, binding = row
        return generation, self._keys.open_mailbox(record, mid, generation), binding


def _count(connection: Connection, *, day: int) -> None:
    connection.execute("DELETE FROM recovery_day WHERE day < ?", (day,))
    connection.execute("INSERT OR IGNORE INTO recovery_day VALUES (?, 0)", (day,))
    (begun,) = connection.execute("SELECT begun FROM recovery_day WHERE day = ?", (day,)).fetchone()
    if begun >= RECOVERIES_PER_DAY:
        raise Refused(f"{RECOVERIES_PER_DAY} recoveries were begun today; the next from 00:00 UTC", code="too-many")
    connection.execute("UPDATE recovery_day SET begun = begun + 1 WHERE day = ?", (day,))
