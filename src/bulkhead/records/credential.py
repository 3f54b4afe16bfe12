"""Row keys without addresses, and what a password becomes (docs/credentials.md)."""

from dataclasses import dataclass, field
from enum import Enum, IntEnum, IntFlag

from bulkhead.identifiers import AccountId
from bulkhead.records.derive import Hmac, derive, u32

MAIN_PASSWORD = 0  # its credential number; app passwords count from 1 and are never reused within an account
PASSWORD_MAX = 1024  # octets
APP_PASSWORD_BYTES = 16
SALT_BYTES = 16
NO_SALT = bytes(SALT_BYTES)  # of an app password
ROW_KEY_BYTES = 16

MEMORY_MAX_KIB = 1 << 20
TIME_MAX = 64
LANES_MAX = 16


class Scope(IntFlag):
    """Where a credential may log in."""

    IMAP = 1
    POP = 2
    SUBMIT = 4
    SIEVE = 8
    JMAP = 16
    WEB = 32


ALL_SCOPES = Scope.IMAP | Scope.POP | Scope.SUBMIT | Scope.SIEVE | Scope.JMAP | Scope.WEB


class State(Enum):
    """Of one half of a credential."""

    ACTIVE = 1
    PENDING = 2  # added, not yet committed by the other half
    SUSPENDED = 3
    MUST_RESET = 4  # the halves disagreed after a restore
    REVOKED = 5
    BREACHED = 6  # active, and its password was found in a list of breached ones: a new one is due

    @property
    def admits(self) -> bool:
        """Whether a login may succeed by it."""
        return self in (State.ACTIVE, State.BREACHED)


class Method(IntEnum):
    """How a secret is stretched."""

    ARGON2ID = 1  # RFC 9106
    HKDF = 2  # app passwords: 128 random bits need no slowing down


@dataclass(frozen=True, slots=True)
class StretchParameters:
    """Cost of Argon2id. Raises ValueError outside 8 KiB per lane to 1 GiB, 1 to 64 passes, 1 to 16 lanes."""

    memory_kib: int = 19 * 1024
    time_cost: int = 2
    lanes: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.lanes <= LANES_MAX or not 1 <= self.time_cost <= TIME_MAX:
            raise ValueError("Argon2id takes 1 to 64 passes and 1 to 16 lanes here")
        if not 8 * self.lanes <= self.memory_kib <= MEMORY_MAX_KIB:
            raise ValueError("Argon2id takes 8 KiB per lane to 1 GiB here")


@dataclass(frozen=True, slots=True)
class Stretched:
    """The two outputs of a password: `tight` is compared, `wrap_key` unwraps. 32 bytes each."""

    tight: bytes = field(repr=False)
    wrap_key: bytes = field(repr=False)

    @classmethod
    def of(cls, out: bytes) -> "Stretched":
        """The two halves of 64 octets."""
        return cls(out[:32], out[32:])


def stretch_app_password(secret: bytes, account: AccountId, credential: int) -> Stretched:
    """The same two outputs of an app password's 128 bits, by HKDF. Raises ValueError for another length."""
    if len(secret) != APP_PASSWORD_BYTES:
        raise ValueError("an app password has 16 bytes")
    return Stretched.of(derive(secret, "app-password", account, u32(credential), length=64))


class RowKeys:
    """Row keys under a compartment's index key, 16 bytes each: who has not the key cannot tell whose row it is."""

    def __init__(self, k_index: bytes) -> None:
        self._digest = Hmac(k_index).digest

    def credential(self, account: AccountId, credential: int) -> bytes:
        """`bid`, of a credential's halves: HMAC-SHA256(K_index, account | u32 credential)."""
        return self._digest(account + u32(credential))[:ROW_KEY_BYTES]

    def mailbox(self, account: AccountId) -> bytes:
        """`mid`, of a mailbox key, and of the account: HMAC-SHA256(K_index, account | "mailbox")."""
        return self._digest(account + b"mailbox")[:ROW_KEY_BYTES]
