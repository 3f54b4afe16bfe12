"""Stops, of everybody or by surface, and credentials that are void from now on."""

from typing import ClassVar

from bulkhead.boundary.messages.fields import U8, U63, Done, Mutation, Text
from bulkhead.boundary.messages.surfaces import LiftSurfacesBase, ReadSurfacesBase, StageAccountsBase, StopSurfacesBase
from bulkhead.boundary.messages.to_keyring.sessions import SessionsEnded


class StopTenantSessions(Mutation[SessionsEnded], frozen=True, tag=33):
    """Raise the epoch: end live sessions where `end_sessions`, admit no login until lifted where `stop_logins`."""

    leased: ClassVar[bool] = False
    epoch: U63
    end_sessions: bool
    stop_logins: bool
    reason: Text


class LiftSessionStop(Mutation[Done], frozen=True, tag=34):
    """Admit logins again."""

    epoch: U63
    reason: Text


class RevokeCredentials(Mutation[SessionsEnded], frozen=True, tag=39):
    """Refuse every credential of a kind that was set at or before `epoch`; durable before the answer, for ever.

    which: RevokedKind. What they opened ends. The answer comes when it holds. Refused: `bad-epoch`, `bad-kind`.
    """

    leased: ClassVar[bool] = False
    epoch: U63
    which: U8
    reason: Text


class StopOutbound(Mutation[Done], frozen=True, tag=110):
    """Open no queued message from now on, whatever queue and courier do; `epoch` only goes up. Durable."""

    leased: ClassVar[bool] = False
    epoch: U63
    reason: Text


class LiftOutboundStop(Mutation[Done], frozen=True, tag=111):
    """Open queued messages again, once the ledger knows."""

    epoch: U63
    reason: Text


class StageAccounts(StageAccountsBase, frozen=True, tag=92):
    """Keep a set of accounts for a stop at `keyring` to name. Body: their ids, ascending."""


class StopSurfaces(StopSurfacesBase, frozen=True, tag=93):
    """Close what `keyring` guards of these surfaces, for that set or for everybody."""


class LiftSurfaces(LiftSurfacesBase, frozen=True, tag=94):
    """Open it again, once the ledger has it."""


class ReadSurfaces(ReadSurfacesBase, frozen=True, tag=95):
    """What is closed at `keyring`, and what a stop would reach there."""
