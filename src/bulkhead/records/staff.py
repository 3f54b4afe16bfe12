"""The statement that opens a staff session: signed by an officer, good for one token at one console of one tenant.

It holds no secret: the token is its officer's own, and the statement names the token's hash. A key of the command line
signs it; a passkey is asked for its hash, and so approves this session and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.errors import IntegrityError, Refused
from bulkhead.identifiers import TenantId
from bulkhead.records.canonical import (
    decode_statement,
    encode_statement,
    require_fields,
    require_hex,
    require_integer,
    require_text,
    signed_octets,
    statement_hash,
)
from bulkhead.records.officer import Approval, Role, challenge_text, check_approval, sign_approval
from bulkhead.records.roster import Officer, Roster

STATEMENT_MAX = 4096  # octets
LIFE_MAX_MS = 8 * 3_600_000
COLLECTOR_LIFE_MAX_MS = 90 * 24 * 3_600_000
SKEW_MS = 120_000  # how far the clocks of an officer and of a holder may be apart
HOLDERS_MAX = 16
LABEL = "staff-session"
_FIELDS = {"v", "tenant", "audience", "officer", "role", "nonces", "token", "issued", "expires"}


@dataclass(frozen=True, slots=True)
class StaffStatement:
    """nonces: by holder, 32 octets each. token: SHA-256 of the session's token. Times are ms since 1970."""

    tenant: TenantId
    audience: str
    officer: str
    role: Role
    nonces: Mapping[str, bytes]
    token: bytes
    issued: int
    expires: int

    def encode(self) -> bytes:
        """Its one form in octets. Raises ValueError on what has none."""
        return encode_statement(
            {
                "v": 1, "tenant": str(self.tenant), "audience": self.audience, "officer": self.officer,
                "role": self.role.value, "nonces": {name: nonce.hex() for name, nonce in self.nonces.items()},
                "token": self.token.hex(), "issued": self.issued, "expires": self.expires,
            }
        )  # fmt: skip


def decode_staff_statement(data: bytes) -> StaffStatement:
    """The statement in these octets, its signature not yet checked. Raises IntegrityError."""
    fields = require_fields(decode_statement(data, STATEMENT_MAX, "a session's statement"), _FIELDS, "a statement")
    nonces = fields["nonces"]
    if fields["v"] != 1 or not isinstance(nonces, dict) or len(nonces) > HOLDERS_MAX:
        raise IntegrityError("a statement of a version that is not known here: update", code="bad-version")
    try:
        role = Role(fields["role"])
    except ValueError:
        raise IntegrityError("a statement names a role that there is not", code="bad-role") from None
    return StaffStatement(
        TenantId(require_text(fields["tenant"], "tenant", 32)),
        require_text(fields["audience"], "audience", 255),
        require_text(fields["officer"], "officer", 32),
        role,
        {name: require_hex(nonce, 32, "a nonce") for name, nonce in nonces.items()},
        require_hex(fields["token"], 32, "token"),
        require_integer(fields["issued"], "issued"),
        require_integer(fields["expires"], "expires"),
    )


def sign_staff_statement(data: bytes, officer: str, key: Ed25519PrivateKey) -> Approval:
    """The officer's signature."""
    return sign_approval(signed_octets(LABEL, data), officer, key)


@dataclass(frozen=True, slots=True)
class Bearer:
    """What a call bears: a session's token; of a collector also what opens the session again where it is gone."""

    token: bytes
    statement: bytes = b""
    approval: Approval | None = None

    def __str__(self) -> str:
        """As `Authorization: Bearer` has it: the token; of a collector also statement, key and signature."""
        if self.approval is None:
            return self.token.hex()
        parts = (self.token, self.statement, self.approval.key, self.approval.signature)
        return ".".join(part.hex() for part in parts)


def parse_bearer(text: str) -> Bearer:
    """What a call bears; nothing of it verified. Raises IntegrityError."""
    parts = text.split(".")
    token = require_hex(parts[0], 32, "a token")
    if len(parts) == 1:
        return Bearer(token)
    if len(parts) != 4 or len(parts[1]) > 2 * STATEMENT_MAX:
        raise IntegrityError("what is borne is neither a session's token nor a collector's", code="bad-digits")
    statement = require_hex(parts[1], len(parts[1]) // 2, "a statement")
    key, signature = require_hex(parts[2], 16, "a key's id"), require_hex(parts[3], 64, "a signature")
    return Bearer(token, statement, Approval(decode_staff_statement(statement).officer, key, signature))


def staff_challenge(data: bytes) -> str:
    """What a browser's passkey is asked for this statement, as client data have it (base64url without padding)."""
    return challenge_text(statement_hash(LABEL, data)).decode("ascii")


def check_staff_statement(
    data: bytes, approval: Approval, roster: Roster, *, tenant: str, audience: str, now: int
) -> tuple[StaffStatement, Officer]:
    """The statement and its officer, if it holds under this roster now.

    Its nonce, and that a passkey's counter went up, are the caller's to check. A collector's statement has no nonce: it
    opens the same session again after a restart, until it expires or the roster drops its officer.
    Raises IntegrityError on what is no statement, Refused: `other-tenant`, `other-audience`, `not-yet`, `expired`,
    `too-long`, `unknown-officer`, `other-role`, `unknown-key`, and those of check_approval.
    """
    statement = decode_staff_statement(data)
    if statement.tenant != tenant:
        raise Refused(f"the statement is for {statement.tenant}, and this is {tenant}", code="other-tenant")
    if not audience or statement.audience != audience:
        raise Refused("the statement is for another console", code="other-audience")
    if statement.issued > now + SKEW_MS:
        raise Refused("the statement is from the future: check the clocks", code="not-yet")
    collects = statement.role is Role.PARTNER_COLLECTOR
    if statement.expires <= now or (statement.issued < now - SKEW_MS and not collects):
        raise Refused("the statement has expired: make a new one", code="expired")
    if statement.expires > statement.issued + (COLLECTOR_LIFE_MAX_MS if collects else LIFE_MAX_MS):
        raise Refused("a session lasts 8 hours at most, a collector's 90 days", code="too-long")
    officer = roster.officer(statement.officer)
    if officer is None or approval.officer != statement.officer or not officer.serves(now):
        raise Refused("no officer of that name serves now", code="unknown-officer")
    if officer.role is not statement.role or officer.role is Role.AUTOMATIC:
        raise Refused("the officer has another role in the roster", code="other-role")
    key = officer.key(approval.key)
    if key is None or (collects and key.is_passkey):
        raise Refused("that is no key of this officer, or none that signs this", code="unknown-key")
    check_approval(key, approval, signed_octets(LABEL, data), statement_hash(LABEL, data))
    return statement, officer
