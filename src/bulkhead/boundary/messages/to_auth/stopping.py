"""Stops, of everybody or by surface, and credentials that are void from now on."""

from typing import ClassVar

from bulkhead.boundary.messages.fields import U8, U63, Done, Mutation, Text
from bulkhead.boundary.messages.surfaces import LiftSurfacesBase, ReadSurfacesBase, StageAccountsBase, StopSurfacesBase


class StopTenantLogins(Mutation[Done], frozen=True, tag=11):
    """Refuse every login of the tenant from now on; `epoch` only goes up. Durable, before the answer."""

    leased: ClassVar[bool] = False
    epoch: U63
    reason: Text


class LiftTenantStop(Mutation[Done], frozen=True, tag=12):
    """Let logins in again."""

    epoch: U63
    reason: Text


class RevokeCredentials(Mutation[Done], frozen=True, tag=20):
    """Refuse every credential of a kind that was set at or before `epoch`; durable before the answer, for ever.

    which: RevokedKind. The answer comes when it holds. Refused: `bad-epoch`, `bad-kind`.
    """

    leased: ClassVar[bool] = False
    epoch: U63
    which: U8
    reason: Text


class StageAccounts(StageAccountsBase, frozen=True, tag=50):
    """Keep a set of accounts for a stop at `auth` to name. Body: their ids, ascending."""


class StopSurfaces(StopSurfacesBase, frozen=True, tag=51):
    """Close what `auth` guards of these surfaces, for that set or for everybody."""


class LiftSurfaces(LiftSurfacesBase, frozen=True, tag=52):
    """Open it again, once the ledger has it."""


class ReadSurfaces(ReadSurfacesBase, frozen=True, tag=53):
    """What is closed at `auth`, and what a stop would reach there."""
