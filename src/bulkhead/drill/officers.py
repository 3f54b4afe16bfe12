"""The people of a scratch tenant: roots, officers with keys and passkeys, rosters and signed orders."""

import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bulkhead.boundary.messages.orders import RootSignature, SignedApproval
from bulkhead.boundary.orders import EXECUTORS, ORDERS
from bulkhead.identifiers import AccountId, TenantId, parse_address
from bulkhead.records.case import Case, about, sign_case
from bulkhead.records.officer import AUTHENTICATOR_DATA, Approval, Group, KeyType, OfficerKey, Role, challenge_text
from bulkhead.records.order import Order, order_hash, sign_order
from bulkhead.records.roster import NO_ROSTER, Officer, Policy, RootKey, Roots, Roster, roster_hash, sign_roster

RP_ID, ORIGIN = "console.stnet.example", "https://console.stnet.example"
HOUR_MS = 3_600_000
LENIENT = Policy()


def now_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


class Authenticator:
    """A passkey in software: what a browser and its authenticator give back for a challenge."""

    def __init__(self, *, eddsa: bool = False, rp_id: str = RP_ID, origin: str = ORIGIN, counter: int = 0) -> None:
        self._ed25519 = Ed25519PrivateKey.generate() if eddsa else None
        self._p256 = generate_private_key(SECP256R1())
        self.rp_id, self.origin, self.counter = rp_id, origin, counter
        self.flags, self.type = 0x05, "webauthn.get"

    def key(self) -> OfficerKey:
        """As a roster has it."""
        if self._ed25519 is not None:
            public = self._ed25519.public_key().public_bytes_raw()
            return OfficerKey(KeyType.PASSKEY_EDDSA, public, RP_ID, ORIGIN)
        point = self._p256.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return OfficerKey(KeyType.PASSKEY_ES256, point, RP_ID, ORIGIN)

    def approve(self, officer: str, challenge: bytes, **more: Any) -> Approval:
        """What comes back for a challenge. more: further client data."""
        self.counter += bool(self.counter)
        data = {"type": self.type, "challenge": challenge_text(challenge).decode(), "origin": self.origin, **more}
        client = json.dumps(data).encode()
        rp = hashlib.sha256(self.rp_id.encode()).digest()
        authenticator = AUTHENTICATOR_DATA.pack(rp, self.flags, self.counter)
        signed = authenticator + hashlib.sha256(client).digest()
        if self._ed25519 is not None:
            signature = self._ed25519.sign(signed)
        else:
            signature = self._p256.sign(signed, ECDSA(SHA256()))
        return Approval(officer, self.key().id, signature, client, authenticator)


class People:
    """Roots of both sides; ada (admin) and sec (security) of the partner, ops (security) of the operator; others."""

    NAMES: Mapping[str, Role] = {
        "ada": Role.PARTNER_ADMIN,
        "sec": Role.PARTNER_SECURITY,
        "sup": Role.PARTNER_SUPPORT,
        "ops": Role.OPERATOR_SECURITY,
        "ovi": Role.OPERATOR_SECURITY,
        "eng": Role.OPERATOR_ENGINEER,
        "bot": Role.AUTOMATIC,
        "prom": Role.PARTNER_COLLECTOR,
    }

    def __init__(self, tenant: str = "stnet") -> None:
        self.tenant = TenantId(tenant)
        self.root_keys = {group: Ed25519PrivateKey.generate() for group in Group}
        self.keys = {name: Ed25519PrivateKey.generate() for name in self.NAMES}
        self.passkeys = {"ada": Authenticator(), "sec": Authenticator(eddsa=True), "ops": Authenticator()}
        self.version, self.hash = 0, NO_ROSTER
        self.octets = b""

    @property
    def roots(self) -> Roots:
        """One of each side."""
        return Roots(
            tuple(RootKey(group, key.public_key().public_bytes_raw()) for group, key in self.root_keys.items())
        )

    def pinned(self) -> dict[str, Any]:
        """The section `pinned` of a compartment's settings."""
        return {"roster_roots": [str(key) for key in self.roots.keys], "roster_threshold": 1}

    def officers(self) -> tuple[Officer, ...]:
        """All of them."""
        return tuple(
            Officer(
                name, role, 0, 0,
                (
                    OfficerKey(KeyType.ED25519, self.keys[name].public_key().public_bytes_raw()),
                    *([self.passkeys[name].key()] if name in self.passkeys else []),
                ),
            )
            for name, role in self.NAMES.items()
        )  # fmt: skip

    def roster(self, policy: Policy = LENIENT, **changes: Any) -> Roster:
        """The roster that follows the one before, not yet the one in use."""
        made = Roster(self.tenant, self.version + 1, self.hash, now_ms(), self.officers(), policy)
        return replace(made, **changes)

    def use(self, roster: Roster) -> bytes:
        """From now on orders are made under this roster; its octets."""
        self.octets = roster.encode()
        self.version, self.hash = roster.version, roster_hash(self.octets)
        return self.octets

    def sign(self, data: bytes, groups: Sequence[Group] = tuple(Group)) -> tuple[RootSignature, ...]:
        """A roster, by the roots of these groups."""
        return tuple(RootSignature(*sign_roster(data, self.root_keys[group])) for group in groups)

    def order(self, action: str, parameters: Mapping[str, str | int] | None = None, **changes: Any) -> Order:
        """An order of now under the roster in use, not yet signed."""
        row, now = ORDERS.get(action), now_ms()
        executors = tuple(sorted(row.executors if row and row.executors else EXECUTORS))
        made = Order(
            self.tenant, executors, action, parameters or {}, secrets.token_bytes(16), "drill", now,
            now + HOUR_MS, self.version, self.hash,
        )  # fmt: skip
        return replace(made, **changes)

    def case(self, account: AccountId, address: str, officer: str = "sup", **changes: Any) -> Case:
        """A support case of now about that account, not yet signed."""
        number, now = secrets.token_bytes(16), now_ms()
        said = about(number, parse_address(address))
        made = Case(self.tenant, number, officer, account, said, "drill", now, now + HOUR_MS, self.version, self.hash)
        return replace(made, **changes)

    def signed_case(self, case: Case, signer: str = "") -> tuple[bytes, tuple[SignedApproval, ...]]:
        """Its octets, and its officer's signature; `signer`: by another one's key, under the officer's name."""
        data = case.encode()
        return data, (signed(sign_case(data, case.officer, self.keys[signer or case.officer])),)

    def by(self, data: bytes, *names: str) -> tuple[SignedApproval, ...]:
        """Signed with the keys of the command line; `name/passkey` with the passkey."""
        found = []
        for name in names:
            officer, _, passkey = name.partition("/")
            if passkey:
                found.append(self.passkeys[officer].approve(officer, order_hash(data)))
            else:
                found.append(sign_order(data, officer, self.keys[officer]))
        return tuple(signed(approval) for approval in found)


def signed(approval: Approval) -> SignedApproval:
    """As a message carries it."""
    return SignedApproval(
        approval.officer, approval.key, approval.signature, approval.client_data, approval.authenticator_data
    )
