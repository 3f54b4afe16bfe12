"""A support case: an officer's statement that he or she helps the subscriber of one account, until when, and why.

It names the account by id, and the address only as a hash: holders that know no addresses learn none from it. It is
signed on the officer's own machine over the address that was typed there, so that a console cannot put another
person's account behind it: directory compares both.
"""

import hashlib
from collections.abc import Container
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.errors import IntegrityError, Refused
from bulkhead.identifiers import ID_BYTES, AccountId, Address, TenantId
from bulkhead.records.canonical import (
    decode_statement,
    encode_readable,
    require_fields,
    require_hex,
    require_integer,
    require_text,
    signed_octets,
    statement_hash,
)
from bulkhead.records.officer import Approval, check_approval, sign_approval
from bulkhead.records.roster import Officer, Roster

CASE_MAX = 2048  # octets
CASE_LABEL = "support-case"
AHEAD_MS = 120_000  # how far an officer's clock may be ahead
LOCAL = "cli"  # the officer of a case that nobody signs
_FIELDS = {"v", "tenant", "case", "officer", "account", "about", "reason", "issued", "expires", "roster"}


@dataclass(frozen=True, slots=True)
class Case:
    """The statement. number: 16 octets. about: of `about`. Times are ms. roster, roster_hash: what it is made under."""

    tenant: TenantId
    number: bytes
    officer: str
    account: AccountId
    about: bytes
    reason: str
    issued: int
    expires: int
    roster: int = 0
    roster_hash: bytes = bytes(32)

    def encode(self) -> bytes:
        """Its one form in octets. Raises ValueError where it is none that could be read again."""
        return encode_readable(
            {
                "v": 1, "tenant": str(self.tenant), "case": self.number.hex(), "officer": self.officer,
                "account": self.account.hex(), "about": self.about.hex(), "reason": self.reason,
                "issued": self.issued, "expires": self.expires,
                "roster": {"version": self.roster, "hash": self.roster_hash.hex()},
            },
            decode_case,
            "case",
        )  # fmt: skip


def about(number: bytes, address: Address) -> bytes:
    """What a case says of the address: SHA-256 over its number and the address's key, so each case's own."""
    return hashlib.sha256(b"bulkhead/v1/support-about\0" + number + address.key.encode()).digest()


def decode_case(data: bytes) -> Case:
    """The case in these octets, its signature not yet checked. Raises IntegrityError."""
    fields = require_fields(decode_statement(data, CASE_MAX, "a case"), _FIELDS, "a case")
    if fields["v"] != 1:
        raise IntegrityError("a case of a version that is not known here: update", code="bad-version")
    roster = require_fields(fields["roster"], {"version", "hash"}, "roster")
    reason = require_text(fields["reason"], "reason")
    if not reason.strip():
        raise IntegrityError("a case says why: reason is empty", code="bad-text")
    return Case(
        TenantId(require_text(fields["tenant"], "tenant", 32)),
        require_hex(fields["case"], ID_BYTES, "case"),
        require_text(fields["officer"], "officer", 32),
        AccountId(require_hex(fields["account"], ID_BYTES, "account")),
        require_hex(fields["about"], 32, "about"),
        reason,
        require_integer(fields["issued"], "issued"),
        require_integer(fields["expires"], "expires"),
        require_integer(roster["version"], "roster", 2**31),
        require_hex(roster["hash"], 32, "roster"),
    )


def sign_case(data: bytes, officer: str, key: Ed25519PrivateKey) -> Approval:
    """The officer's signature."""
    return sign_approval(signed_octets(CASE_LABEL, data), officer, key)


def check_case(data: bytes, *, tenant: str, now: int, life: int) -> Case:
    """The case, if it is of this tenant and of now; who signed it is not looked at. life: ms at most.

    Raises IntegrityError, Refused (`other-tenant`, `not-yet`, `expired`, `too-long`).
    """
    case = decode_case(data)
    if case.tenant != tenant:
        raise Refused(f"the case is of {case.tenant}, and this is {tenant}", code="other-tenant")
    if case.issued > now + AHEAD_MS:
        raise Refused("the case is opened in the future: compare the clocks", code="not-yet")
    if case.expires <= now:
        raise Refused("the case has expired: open a new one", code="expired")
    if case.expires - case.issued > life:
        raise Refused("the case is open for too long", code="too-long")
    return case


def check_signed(
    data: bytes, case: Case, approval: Approval, known: tuple[Roster, bytes], now: int, roles: Container[str]
) -> Officer:
    """The officer who opened it, with a key of the command line or a passkey. known: a roster and its hash.

    Raises Refused (`old-roster`, `unknown-officer`, `other-role`, `unknown-key`, and those of check_approval).
    """
    roster, digest = known
    if (case.roster, case.roster_hash) != (roster.version, digest):
        raise Refused(f"roster {roster.version} is in force: open the case under that", code="old-roster")
    officer = roster.officer(case.officer)
    if officer is None or approval.officer != case.officer or not officer.serves(now):
        raise Refused("no officer of that name serves now", code="unknown-officer")
    if officer.role.value not in roles:
        raise Refused(f"{officer.name} is {officer.role.value}, which opens no support case", code="other-role")
    key = officer.key(approval.key)
    if key is None:
        raise Refused(f"signed by a key that is not one of {officer.name}'s", code="unknown-key")
    check_approval(key, approval, signed_octets(CASE_LABEL, data), statement_hash(CASE_LABEL, data))
    return officer
