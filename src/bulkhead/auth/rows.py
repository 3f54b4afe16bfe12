"""auth's halves: salt, cost and the digest of the release; and a decoy for every account that has none."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field, replace

from bulkhead.errors import IntegrityError, Refused
from bulkhead.holder.account_states import AccountState, AccountTable
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KeyFile
from bulkhead.holder.revocation import Revocation
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.records.app_password import AppPasswordNote
from bulkhead.records.credential import (
    ALL_SCOPES,
    MAIN_PASSWORD,
    NO_SALT,
    SALT_BYTES,
    RowKeys,
    State,
    StretchParameters,
)
from bulkhead.records.derive import derive
from bulkhead.records.halves import AuthHalf, Place
from bulkhead.records.opener import Opener
from bulkhead.records.record import Kind, read_header

AUTH = "auth"  # records
INDEX = "index"  # row keys and decoy salts; auth's own, not keyring's


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of one tenant. Raises Refused (`no-key`) at once where one is missing."""

    tenant: TenantId
    keys: KeyFile = field(repr=False)
    index: bytes = field(repr=False)
    decoy: bytes = field(repr=False)
    rows: RowKeys = field(repr=False)
    halves: Opener = field(repr=False)

    @classmethod
    def of(cls, tenant: TenantId, keys: KeyFile) -> "Keys":
        """The keys of an open key file."""
        keys.current(AUTH)
        index, halves = keys.current(INDEX)[1], Opener(Kind.AUTH_HALF, tenant, keys, AUTH)
        keys.on_change(halves.forget)
        return cls(tenant, keys, index, derive(index, "decoy-salt"), RowKeys(index), halves)

    def seal(self, half: AuthHalf, bid: bytes, g: int) -> bytes:
        """The half's record under the current key."""
        version, key = self.keys.current(AUTH)
        return half.seal(Place(self.tenant, bid, g), version, key)

    def open(self, record: bytes, bid: bytes, g: int) -> AuthHalf:
        """The half in a row. Raises IntegrityError, also where its key version is gone."""
        return AuthHalf.decode(self.halves.open(record, bid, g)[0])

    @property
    def accounts(self) -> AccountTable:
        """The accounts' states."""
        ends = "half", "app_password", "known"
        return AccountTable("owner", AccountState.OPEN, ends, self._reseal, lambda: self.keys.current(AUTH))

    def _reseal(self, record: bytes, bid: bytes, g: int, admits: bool) -> bytes:
        half = self.open(record, bid, g)
        return self.seal(replace(half, state=State.ACTIVE if admits else State.SUSPENDED), bid, g)

    def seal_note(self, noted: AppPasswordNote, bid: bytes) -> bytes:
        """The record of what is noted of an app password, under the current key."""
        version, key = self.keys.current(AUTH)
        return noted.seal(Place(self.tenant, bid, 1), version, key)

    def open_note(self, record: bytes, bid: bytes) -> AppPasswordNote:
        """What is noted in a row. Raises IntegrityError."""
        kind = Kind.APP_PASSWORD_NOTE
        try:
            key = self.keys.get(AUTH, read_header(record, kind).key_version)
        except Refused as error:
            raise IntegrityError(f"{kind.name} record: {error.public}") from None
        return AppPasswordNote.open(record, Place(self.tenant, bid, 1), key)


class Rows:
    """Halves by account and credential. default: the cost of new passwords, and of decoys."""

    def __init__(self, database: Database, keys: Keys, default: StretchParameters, revocation: Revocation) -> None:
        self._database, self.keys, self.default, self.revocation = database, keys, default, revocation

    def bid(self, account: AccountId, cred: int) -> bytes:
        """The row key of a credential."""
        return self.keys.rows.credential(account, cred)

    def owner(self, account: AccountId) -> bytes:
        """The row key of an account."""
        return self.keys.rows.mailbox(account)

    def find(self, account: AccountId, cred: int) -> AuthHalf | None:
        """The half, or None where there is none; with the state `revoked` where an epoch is. Raises IntegrityError."""
        bid = self.bid(account, cred)
        row = self._database.first("SELECT g, record, set_at FROM half WHERE bid = ?", (bid,))
        if row is None:
            return None
        half = self.keys.open(row[1], bid, row[0])
        return replace(half, state=State.REVOKED) if self.revocation.covers(cred, row[2], account) else half

    def decoy(self, account: AccountId, cred: int) -> AuthHalf:
        """What an account without password is checked against: the same salt each time, a digest nothing has."""
        if cred != MAIN_PASSWORD:
            return AuthHalf(ALL_SCOPES, State.REVOKED, NO_SALT, None, hashlib.sha256(secrets.token_bytes(32)).digest())
        salt = hmac.digest(self.keys.decoy, account, "sha256")[:SALT_BYTES]
        return AuthHalf(ALL_SCOPES, State.REVOKED, salt, self.default, hashlib.sha256(secrets.token_bytes(32)).digest())

    def g(self, account: AccountId, cred: int) -> int:
        """How often the credential was changed; 0 where there is none."""
        row = self._database.first("SELECT g FROM half WHERE bid = ?", (self.bid(account, cred),))
        return 0 if row is None else int(row[0])

    def slowest_digest(self) -> float:
        """Seconds that the dearest imported digest here may take; 0.0 where there is none. Read from an index."""
        row = self._database.first("SELECT digest_ms FROM half WHERE digest_ms > 0 ORDER BY digest_ms DESC LIMIT 1")
        return 0.0 if row is None else row[0] / 1000

    def state(self, account: AccountId) -> int:
        """The account's AccountState."""
        row = self._database.first("SELECT state FROM account WHERE owner = ?", (self.owner(account),))
        return AccountState.OPEN if row is None else int(row[0])
