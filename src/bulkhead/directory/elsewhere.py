"""Forwards to other servers: the statements that let a message go, and the return paths by which bounces come back.

docs/decisions/0013. Here alone it is decided whether mail of an account leaves this cell by a forward; queue believes
the statement, and a gate can only carry it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.boundary.messages.to_directory import FORWARDS_MAX, Service
from bulkhead.errors import PeerError, Refused
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId, Address, QueueId, TenantId, new_id, parse_address
from bulkhead.records.forward import Forward, ReturnPaths, signing_key

GOOD_MS = 3_600_000  # from RCPT to the final dot: a slow sender's 10 minutes a buffer (RFC 5321 section 4.5.3.2) fit
_MOST = (
    "SELECT COALESCE((SELECT elsewhere FROM class WHERE name = account.class), ?), "
    "(SELECT domain FROM address WHERE account = account.number AND kind = 1) FROM account WHERE number = ?"
)
_TARGETS = "SELECT shown FROM forward WHERE account = ? AND elsewhere = 1 ORDER BY key LIMIT ?"


@dataclass(slots=True)
class Elsewhere:
    """now: ms. most: addresses at other servers of one account, by the settings; 0: none, and nothing is signed."""

    database: Database
    tombstone_key: bytes = field(repr=False)
    tenant: TenantId
    now: Callable[[], int]
    most: int = 0
    _key: Ed25519PrivateKey = field(init=False, repr=False)
    _returns: ReturnPaths = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._key = signing_key(self.tombstone_key, self.tenant)
        self._returns = ReturnPaths(self.tombstone_key, self.tenant)

    def statements(self, row: tuple[Any, ...], *, null: bool) -> tuple[bytes, ...]:
        """One for each target at another server, as many as are allowed now. row: of the account, as BY_KEY reads it.

        An account that may not send sends nothing on either. null: the message is from `<>`, and stays so.
        """
        if not self.most or row[4] & Service.SEND:
            return ()
        allowed, domain = self.database.first(_MOST, (FORWARDS_MAX, row[6]))
        targets = self.database.read(_TARGETS, (row[6], min(self.most, allowed)))
        if not targets:
            return ()
        account, now = AccountId(row[0]), self.now()
        return_path = "" if null else self._returns.make(account, domain, now)
        return tuple(
            Forward(self.tenant, account, QueueId(new_id()), target, return_path, now + GOOD_MS).sign(self._key)
            for (target,) in targets
        )

    def bounced(self, local_part: str, domain: str) -> AccountId | None:
        """The account whose forward a bounce to this address is about; None where the address is none of ours."""
        return self._returns.read(local_part, domain, self.now())

    def check(self, targets: Sequence[Address], class_most: int, own: Address) -> None:
        """Passes targets at other servers that an account may have. Raises Refused: `not-ours`, `full`."""
        most = min(self.most, class_most)
        if not most:
            raise Refused(
                f"{targets[0]} is no account of this tenant, and forwards to other servers are closed: "
                "directory.forwards_elsewhere_max opens them, a class of service may close them",
                code="not-ours",
            )
        if len(targets) > most:
            raise Refused(f"the account may forward to {most} addresses at other servers", code="full")
        for target in targets:
            if not str(target).isascii():
                raise Refused(f"{target}: not every server takes that address; name one of ASCII", code="not-ours")
        try:
            parse_address(self._returns.make(AccountId(bytes(16)), own.domain, self.now()))
        except PeerError:
            raise Refused("the account's domain is too long for a return path", code="not-ours") from None
