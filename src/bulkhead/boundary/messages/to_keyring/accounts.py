"""Keys of mailboxes: made, recovered, renewed, exported; states of accounts."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.census import AccountIds
from bulkhead.boundary.messages.fields import U8, U16, U32, AccountId, Mutation, Reply, Sealed, Tag16, Text
from bulkhead.boundary.messages.provision import BeginFileBase, FileChunkBase
from bulkhead.boundary.messages.to_directory import BindingRow
from bulkhead.boundary.messages.to_keyring.sessions import SessionsEnded
from bulkhead.boundary.messages.to_keyring.values import Secret

EXPORTED_KEYS_MAX = 256  # of one reply


class CreatedMailboxKeys(Secret, frozen=True):
    """A new mailbox key; `token` sets its first password, once; zeros where none was asked for."""

    binding: BindingRow
    token: Tag16


class CreateMailboxKeys(Mutation[CreatedMailboxKeys], frozen=True, tag=30):
    """Make seed, key pair, recovery wrap and binding for a new account. Refused: `exists`, `tombstone`.

    token: whether one is wanted, for the first password. Without it a key that exists is answered with its binding.
    """

    account: AccountId
    token: bool = True


class RecoveryOffer(Reply, frozen=True):
    """What the two recovery keys must re-seal: each share, to keyring's one-time key.

    order_key: the ORDER_KEY record with that key, signed by the binding key. sealed_s1: the partner's share,
    sealed_s2: the operator's.
    """

    order: Tag16
    generation: U32
    order_key: Sealed
    sealed_s1: Sealed
    sealed_s2: Sealed


class BeginRecovery(Mutation[RecoveryOffer], frozen=True, tag=31):
    """Begin the recovery of an account; the one-time key lives 120 s. Refused: `no-such-account`, `too-many`."""

    account: AccountId


class RecoveryToken(Secret, frozen=True):
    """A one-time token that lets auth set a new password."""

    token: Tag16


class GrantRecovery(Mutation[RecoveryToken], frozen=True, tag=32):
    """Both shares, re-sealed to the one-time key. Refused: `bad-shares`."""

    account: AccountId
    order: Tag16
    resealed_s1: Sealed
    resealed_s2: Sealed


class SetHalfState(Mutation[SessionsEnded], frozen=True, tag=35):
    """One of AccountState for this half of an account; what closes it ends its sessions.

    Destroying removes verifier and mailbox key and leaves a tombstone. Refused: `bad-state`, `no-such-account`,
    `tombstone`.
    """

    leased: ClassVar[bool] = False
    account: AccountId
    state: U8


class RenewalOrdered(Reply, frozen=True):
    """Every generation made under an order of a lower number is to be replaced."""

    number: U32


class RenewMailboxes(Mutation[RenewalOrdered], frozen=True, tag=63):
    """Give every account a new mailbox key at its next login by a main password that is not cached."""

    reason: Text


class ExportedKey(Reply, frozen=True):
    """One generation of an account's mailbox key: noise to whoever lacks one of the two recovery keys.

    sealed: the MAILBOX record's plaintext (docs/formats.md), both shares and the seed that they open.
    """

    account: AccountId
    generation: U32
    sealed: Sealed
    binding: Sealed


class ExportedKeys(Reply, frozen=True):
    """Keys, generations ascending, of the first `accounts` of those asked for; one that has none gives none."""

    keys: Annotated[tuple[ExportedKey, ...], Meta(max_length=EXPORTED_KEYS_MAX)]
    accounts: U16


class ExportKeys(Mutation[ExportedKeys], frozen=True, tag=70):
    """The mailbox keys of accounts, sealed to the recovery keys alone; in the ledger before the answer.

    They open with both recovery keys for ever: no rotation ends them. Refused: `bad-account`.
    """

    accounts: AccountIds


class BeginProvision(BeginFileBase, frozen=True, tag=125):
    """A provisioning file, for `keyring`'s part of it: first passwords, and who may log in."""


class ProvisionChunk(FileChunkBase, frozen=True, tag=126):
    """Its next lines, for `keyring`."""
