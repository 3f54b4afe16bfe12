"""The roster: who the officers of a tenant are, with which keys, and what their orders need. Signed by its roots.

Versions form a chain: each names the hash of the one before. Who stores the newest refuses every other that is not the
next, and so an older one and a fork.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bulkhead.errors import IntegrityError, Refused
from bulkhead.identifiers import TenantId
from bulkhead.records.canonical import (
    base64_text,
    decode_statement,
    encode_readable,
    require_base64,
    require_fields,
    require_hex,
    require_integer,
    require_text,
    signed_octets,
    statement_hash,
)
from bulkhead.records.officer import Group, OfficerKey, Role

ROSTER_MAX = 48 * 1024  # octets
OFFICERS_MAX = 64
KEYS_MAX = 4  # of one officer
ROOTS_MAX = 8
WITNESSES_MAX = 8
ROSTER_LABEL = "roster"
NO_ROSTER = bytes(32)  # what the first roster names as the one before
_FIELDS = {"v", "tenant", "version", "previous", "issued", "officers", "policy", "recovery", "log"}
_OFFICER = {"name", "role", "from", "until", "keys"}
_POLICY = {"local", "quorum", "daily"}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True, slots=True)
class Officer:
    """A person, or for the role `automatic` a machine. since, until: ms since 1970; until 0: no end is set."""

    name: str
    role: Role
    since: int
    until: int
    keys: tuple[OfficerKey, ...]

    def serves(self, now: int) -> bool:
        """Whether the officer is one at that time, ms."""
        return self.since <= now and (not self.until or now < self.until)

    def key(self, ident: bytes) -> OfficerKey | None:
        """The key of that id, or None."""
        return next((key for key in self.keys if key.id == ident), None)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a tenant asks beyond ORDERS. local_refused: what needs an order is refused to the local command line.

    quorum: action to group to signatures, daily: action to number; either only makes what ORDERS says stricter.
    """

    local_refused: bool = False
    quorum: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    daily: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Roster:
    """One version. recovery: X25519 public key by group; log, witnesses: verifier keys of the log and cosigners."""

    tenant: TenantId
    version: int
    previous: bytes
    issued: int
    officers: tuple[Officer, ...]
    policy: Policy = Policy()
    recovery: Mapping[str, bytes] = field(default_factory=dict)
    log: str = ""
    witnesses: tuple[str, ...] = ()

    def officer(self, name: str) -> Officer | None:
        """The officer of that name, or None."""
        return next((officer for officer in self.officers if officer.name == name), None)

    def encode(self) -> bytes:
        """Its one form in octets. Raises ValueError where it is none that could be read again: our bug."""
        officers = [
            {
                "name": officer.name, "role": officer.role.value, "from": officer.since, "until": officer.until,
                "keys": [key.as_fields() for key in officer.keys],
            }
            for officer in self.officers
        ]  # fmt: skip
        policy = {
            "local": "refused" if self.policy.local_refused else "allowed",
            "quorum": {action: dict(groups) for action, groups in self.policy.quorum.items()},
            "daily": dict(self.policy.daily),
        }
        return encode_readable(
            {
                "v": 1, "tenant": str(self.tenant), "version": self.version, "previous": self.previous.hex(),
                "issued": self.issued, "officers": officers, "policy": policy,
                "recovery": {group: base64_text(key) for group, key in self.recovery.items()},
                "log": {"key": self.log, "witnesses": list(self.witnesses)},
            },
            decode_roster,
            "roster",
        )  # fmt: skip


def roster_hash(data: bytes) -> bytes:
    """32 octets by which orders and the next roster name this one."""
    return statement_hash(ROSTER_LABEL, data)


def decode_roster(data: bytes) -> Roster:
    """The roster in these octets, its signatures not yet checked. Raises IntegrityError."""
    fields = require_fields(decode_statement(data, ROSTER_MAX, "a roster"), _FIELDS, "a roster")
    if fields["v"] != 1:
        raise IntegrityError("a roster of a version that is not known here: update", code="bad-version")
    log = require_fields(fields["log"], {"key", "witnesses"}, "log")
    witnesses = _list(log["witnesses"], WITNESSES_MAX, "witnesses")
    officers = tuple(_officer(row) for row in _list(fields["officers"], OFFICERS_MAX, "officers"))
    _distinct([officer.name for officer in officers], "two officers of one name")
    _distinct([key.public for officer in officers for key in officer.keys], "two officers share a key")
    return Roster(
        TenantId(require_text(fields["tenant"], "tenant", 32)),
        require_integer(fields["version"], "version", 2**31),
        require_hex(fields["previous"], 32, "previous"),
        require_integer(fields["issued"], "issued"),
        officers,
        _policy(fields["policy"]),
        {name: require_base64(key, "a recovery key", 32) for name, key in _object(fields["recovery"], "recovery")},
        require_text(log["key"], "log", 400),
        tuple(require_text(key, "a witness", 400) for key in witnesses),
    )


@dataclass(frozen=True, slots=True)
class RootKey:
    """A key that signs rosters, and whose it is."""

    group: Group
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "RootKey":
        """From `partner:BASE64`. Raises IntegrityError."""
        group, _, key = text.partition(":")
        public = require_base64(key, "a root key", 32)
        if group not in ("partner", "operator") or len(public) != 32:
            raise IntegrityError("a root is partner:KEY or operator:KEY, KEY base64 of 32 octets", code="bad-key")
        return cls(Group(group), public)

    def __str__(self) -> str:
        return f"{self.group.value}:{base64_text(self.public)}"


@dataclass(frozen=True, slots=True)
class Roots:
    """The pinned roots of a tenant. threshold: how many roots of each group sign a roster."""

    keys: tuple[RootKey, ...] = ()
    threshold: int = 1

    @property
    def hash(self) -> bytes:
        """Of the whole set, so that another one is noticed."""
        text = "\n".join(sorted(str(key) for key in self.keys))
        return statement_hash("roster-roots", f"{self.threshold}\n{text}".encode())

    def check(self, data: bytes, signatures: Sequence[tuple[bytes, bytes]]) -> None:
        """Passes a roster that enough roots of both groups signed. signatures: public key and signature of each.

        Raises Refused (`no-roots`, `unknown-root`, `bad-signature`, `quorum`).
        """
        if {key.group for key in self.keys} != set(Group):
            raise Refused("no roster roots of both groups are pinned for this tenant: tenant add", code="no-roots")
        signed: dict[Group, set[bytes]] = {group: set() for group in Group}
        for public, signature in signatures:
            root = next((key for key in self.keys if key.public == public), None)
            if root is None:
                raise Refused("the roster is signed by a key that is no root of this tenant", code="unknown-root")
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signature, signed_octets(ROSTER_LABEL, data))
            except (InvalidSignature, ValueError):
                raise Refused("a root's signature under the roster does not fit", code="bad-signature") from None
            signed[root.group].add(public)
        for group, keys in signed.items():
            if len(keys) < self.threshold:
                raise Refused(
                    f"the roster has {len(keys)} signatures by {group.value} roots and needs {self.threshold}",
                    code="quorum",
                )


def sign_roster(data: bytes, root: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """The root's public key and its signature."""
    return root.public_key().public_bytes_raw(), root.sign(signed_octets(ROSTER_LABEL, data))


def check_next(new: Roster, tenant: str, version: int, known: bytes) -> None:
    """Passes the roster that follows version `version`, of hash `known` (0 and NO_ROSTER: there is none).

    Raises Refused (`other-tenant`, `old-roster`, `roster-gap`, `roster-fork`).
    """
    if new.tenant != tenant:
        raise Refused(f"the roster is of {new.tenant}, and this is a compartment of {tenant}", code="other-tenant")
    if new.version <= version:
        raise Refused(f"roster {version} is in force, and none but {version + 1} follows it", code="old-roster")
    if new.version > version + 1:
        raise Refused(f"roster {version} is in force: install {version + 1} first", code="roster-gap")
    if new.previous != known:
        raise Refused("the roster does not follow the one in force: there are two of that version", code="roster-fork")


def is_officer_name(name: object) -> bool:
    """Whether an officer may be called so."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _officer(row: object) -> Officer:
    fields = require_fields(row, _OFFICER, "an officer")
    name = fields["name"]
    if not is_officer_name(name):
        raise IntegrityError("an officer's name is 1 to 31 of a-z, 0-9 and -, from a letter", code="bad-name")
    try:
        role = Role(fields["role"])
    except ValueError:
        raise IntegrityError("an officer has no known role", code="bad-role") from None
    keys = tuple(OfficerKey.of_fields(key) for key in _list(fields["keys"], KEYS_MAX, "keys"))
    since, until = require_integer(fields["from"], "from"), require_integer(fields["until"], "until")
    return Officer(str(name), role, since, until, keys)


def _policy(value: object) -> Policy:
    fields = require_fields(value, _POLICY, "policy")
    if fields["local"] not in ("allowed", "refused"):
        raise IntegrityError("policy.local is allowed or refused", code="bad-policy")
    quorum = {
        action: {group: require_integer(count, "a quorum", OFFICERS_MAX) for group, count in _object(groups, "quorum")}
        for action, groups in _object(fields["quorum"], "quorum")
    }
    if any(group not in ("partner", "operator") for groups in quorum.values() for group in groups):
        raise IntegrityError("a quorum is of partner and operator", code="bad-policy")
    daily = {action: require_integer(count, "daily", 1_000_000) for action, count in _object(fields["daily"], "daily")}
    return Policy(fields["local"] == "refused", quorum, daily)


def _list(value: object, limit: int, what: str) -> list[object]:
    if not isinstance(value, list) or len(value) > limit:
        raise IntegrityError(f"{what} is a list of at most {limit}", code="bad-list")
    return value


def _object(value: object, what: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise IntegrityError(f"{what} is an object", code="bad-fields")
    return value.items()


def _distinct(values: Sequence[object], what: str) -> None:
    if len(set(values)) != len(values):
        raise IntegrityError(what, code="not-distinct")
