"""Recovery from the command line: both recovery keys together re-seal the shares that open one mailbox.

Only keyring ever sees the seed: what leaves this process is sealed to keyring's one-time key, and that key is believed
only under the tenant's pinned binding key.
"""

import base64
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bulkhead.boundary.messages.to_keyring import BeginRecovery, GrantRecovery
from bulkhead.cli.road import Road, stamp
from bulkhead.cli.secret_file import read_secret
from bulkhead.config import Tenant
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.records.mailbox import Holder, OrderKey, reseal_share
from bulkhead.records.recovery_file import TEXT_MAX, RecoveryPrivateKey, read_recovery_private


@dataclass(frozen=True, slots=True)
class RecoveryKeys:
    """Both parties' keys."""

    partner: RecoveryPrivateKey = field(repr=False)
    operator: RecoveryPrivateKey = field(repr=False)


def read_recovery_keys(partner: Path, operator: Path, tenant: TenantId) -> RecoveryKeys:
    """The two keys of the tenant. Raises ConfigError and IntegrityError that name the file."""
    return RecoveryKeys(_read(partner, tenant, Holder.PARTNER), _read(operator, tenant, Holder.OPERATOR))


def read_partner_key(path: Path, tenant: TenantId) -> RecoveryPrivateKey:
    """The partner's. Raises as read_recovery_keys."""
    return _read(path, tenant, Holder.PARTNER)


def binding_key(tenant: Tenant) -> Ed25519PublicKey:
    """The pinned key under which keyring signs. Raises ConfigError where none is pinned."""
    text = tenant.settings.text("pinned.binding_key")
    if not text:
        raise ConfigError(f"{tenant.file}: pinned.binding_key is empty; restore it from a copy of the file")
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text))


async def recover(road: Road, account: AccountId, keys: RecoveryKeys) -> bytes:
    """A one-time token that sets the account's password. Raises IntegrityError where keyring's key is not genuine."""
    offer = await road.ask("keyring", BeginRecovery(stamp(), account))
    order_key = OrderKey.verify(
        offer.order_key, binding_key(road.tenant), road.tenant.id, account, offer.generation, offer.order
    )
    shares = (
        reseal_share(offer.sealed_s1, Holder.PARTNER, keys.partner.private_key, order_key),
        reseal_share(offer.sealed_s2, Holder.OPERATOR, keys.operator.private_key, order_key),
    )
    return (await road.ask("keyring", GrantRecovery(stamp(), account, offer.order, *shares))).token


def _read(path: Path, tenant: TenantId, holder: Holder) -> RecoveryPrivateKey:
    try:
        key = read_recovery_private(read_secret(path, TEXT_MAX))
    except (ConfigError, IntegrityError) as error:
        raise type(error)(f"{path}: {error.public}") from None
    if key.tenant != tenant or key.holder is not holder:
        raise ConfigError(
            f"{path} is the {key.holder.name.lower()}'s key of {key.tenant}; "
            f"this takes the {holder.name.lower()}'s of {tenant}"
        )
    return key
