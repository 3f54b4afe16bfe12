"""One function per message to keyring. PEERS says who may send which; what they rest on is in the other modules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange, Handler
from bulkhead.boundary.messages import to_keyring as m
from bulkhead.boundary.messages.fields import Done, Request
from bulkhead.errors import Refused
from bulkhead.holder import backup
from bulkhead.holder.accesses import Accesses
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.census import Census
from bulkhead.holder.database import Database
from bulkhead.holder.handing import hand_on
from bulkhead.holder.orders import Orders
from bulkhead.holder.outbox import Outbox
from bulkhead.holder.provision import Files
from bulkhead.holder.revocation import Revocation, kind_of
from bulkhead.holder.rotation import Part, Rotation
from bulkhead.holder.rules import watch_workers
from bulkhead.holder.session_reach import SessionReach
from bulkhead.holder.shared import shared
from bulkhead.holder.stop import OUTBOUND, OUTBOUND_TABLE, TenantStop, outbound_handlers
from bulkhead.holder.surfaces import Surfaces
from bulkhead.holder.walk import count_keys
from bulkhead.identifiers import AccountId
from bulkhead.keyring.cache import LoginCache
from bulkhead.keyring.check import census
from bulkhead.keyring.exporting import export_keys as export_keys_of
from bulkhead.keyring.failures import Failures
from bulkhead.keyring.grants import Grants
from bulkhead.keyring.halves import Halves
from bulkhead.keyring.keys import RING, Keys
from bulkhead.keyring.logins import Logins
from bulkhead.keyring.mailboxes import Mailboxes
from bulkhead.keyring.openings import Openings
from bulkhead.keyring.recovery import Recovery
from bulkhead.keyring.renewal import Renewal
from bulkhead.keyring.sessions import Sessions
from bulkhead.keyring.tokens import Tokens
from bulkhead.records.access import Act
from bulkhead.records.queued import open_queue_key_box
from bulkhead.records.record import Kind, read_header

NO_KEY = bytes(32)
SEALED = (Part("half", "bid", "g", Kind.KEYRING_HALF), Part("mailbox", "mid", "generation", Kind.MAILBOX))
_Body = BodyReader | None


@dataclass(slots=True)
class Keyring:
    """The whole of keyring's state."""

    database: Database
    keys: Keys
    outbox: Outbox
    stop: TenantStop
    outbound: TenantStop
    revocation: Revocation
    failures: Failures
    logins: Logins
    grants: Grants
    sessions: Sessions
    openings: Openings
    halves: Halves
    mailboxes: Mailboxes
    recovery: Recovery
    session_seconds: float
    rotation: Rotation
    exchange: Exchange
    renewal: Renewal
    surfaces: Surfaces
    backups: backup.Backups = field(init=False)
    accesses: Accesses = field(init=False)
    orders: Orders = field(init=False)
    files: Files = field(init=False)

    @classmethod
    def opened(
        cls, database: Database, keys: Keys, exchange: Exchange, settings: Mapping[str, Any], cache: LoginCache
    ) -> "Keyring":
        """Everything in its place. settings: the section `keyring`."""
        stop, tokens = TenantStop(database, exchange), Tokens()
        failures = Failures(database, settings["failures_per_hour"], settings["failing_accounts_per_hour"])
        grants = Grants(exchange, lambda: stop.ended)
        outbox = Outbox(database, exchange)
        surfaces = Surfaces(database, outbox, exchange)
        revocation = Revocation(database, surfaces)

        def end(account: AccountId) -> None:
            logins.forget(account)
            grants.sessions.end_account(account, "mailbox-key-renewed")

        renewal = Renewal(database, keys, exchange, outbox, end)
        logins = Logins(database, keys, failures, stop, revocation, cache, renewal, surfaces.closed_to_login)
        rate = watch_workers(surfaces, exchange, SessionReach(grants.sessions, logins.void), settings)
        return cls(
            database, keys, outbox, stop, TenantStop(database, exchange, OUTBOUND, OUTBOUND_TABLE), revocation,
            failures, logins, grants, grants.sessions,
            Openings(keys.tenant, grants.sessions, renewal.previous, rate),
            Halves(database, keys, tokens, logins, revocation), Mailboxes(database, keys, tokens),
            Recovery(database, keys, tokens, exchange), settings["session_seconds"],
            Rotation(database, keys.ring, RING, SEALED, outbox, exchange), exchange, renewal, surfaces,
        )  # fmt: skip

    def close(self, account: AccountId) -> int:
        """End what an account has here; how many sessions."""
        self.logins.forget(account)
        return self.sessions.end_account(account, "closed")


# --- from auth -----------------------------------------------------------------------------------------------------


async def check_half(keyring: Keyring, _: Channel, request: m.CheckHalf, __: _Body) -> m.Release:
    """The second half of the check."""
    return await keyring.logins.check(request)


def check_cached(keyring: Keyring, _: Channel, request: m.CheckCached, __: _Body) -> m.Release:
    """The second half of the check, by a cached login."""
    return keyring.logins.check_cached(request)


async def drop_halves(keyring: Keyring, _: Channel, request: m.DropHalves, __: _Body) -> Done:
    """The old half dies, and with it the sessions that the old password had opened, whatever the disk says then."""
    if await keyring.halves.drop(request) and not request.same_password:
        keyring.logins.forget(request.account, request.cred)
        keyring.sessions.end_account(request.account, "password-changed", request.cred)
    await keyring.halves.fold()
    return Done()


def end_account_sessions(keyring: Keyring, _: Channel, request: m.EndAccountSessions, __: _Body) -> Done:
    """For the support desk; who logs in again may."""
    keyring.sessions.end_account(request.account, "support")
    return Done()


def read_half_states(keyring: Keyring, _: Channel, request: m.ReadHalfStates, __: _Body) -> m.HalfStates:
    """How this side's halves stand."""
    return m.HalfStates(tuple(keyring.halves.state_of(request.account, cred) for cred in request.creds))


# --- from gates ----------------------------------------------------------------------------------------------------


async def redeem_login(keyring: Keyring, channel: Channel, request: m.RedeemLogin, _: _Body) -> m.Session:
    """A session of this channel; store has its grant before the gate has its handle."""
    keyring.openings.rate.require_open(channel)
    checked = keyring.logins.take(request.nonce, request.account, request.scope, channel.compartment)
    session = keyring.sessions.begin(channel, checked, keyring.session_seconds)
    keyring.accesses.of_session(Act.SESSION_BEGUN, session.account, channel, session.scope)
    binding = keyring.mailboxes.binding(request.account)
    if session.seed is None:
        return m.Session(session.handle, session.expires, NO_KEY, binding)
    await keyring.grants.grant(session)
    keyring.renewal.settle_later(request.account)
    return m.Session(session.handle, session.expires, session.seed.metadata_key(), binding)


async def end_session(keyring: Keyring, channel: Channel, request: m.EndSession, _: _Body) -> Done:
    """The session is over; one that is over already is no error."""
    try:
        session = keyring.sessions.find(request.handle, channel)
    except Refused:
        return Done()
    keyring.sessions.end([session], "")
    keyring.renewal.settle_later(session.account)
    return Done()


async def open_arrived(keyring: Keyring, channel: Channel, request: m.OpenArrived, _: _Body) -> m.OpenedKeys:
    """Keys of arrived mail, with their slots."""
    session = keyring.sessions.find(request.handle, channel)
    return m.OpenedKeys(await keyring.openings.arrived(session, request.items))


async def open_slots(keyring: Keyring, channel: Channel, request: m.OpenSlots, _: _Body) -> m.MessageKeys:
    """Keys of filed mail."""
    session = keyring.sessions.find(request.handle, channel)
    return m.MessageKeys(await keyring.openings.slots(session, request.items))


async def open_pages(keyring: Keyring, channel: Channel, request: m.OpenPages, _: _Body) -> m.PageKeys:
    """Keys of summary pages."""
    session = keyring.sessions.find(request.handle, channel)
    return m.PageKeys(await keyring.openings.pages(session, request.pages, request.generation))


async def reseal_slots(keyring: Keyring, channel: Channel, request: m.ResealSlots, _: _Body) -> m.ResealedSlots:
    """Slots under the newest generation."""
    session = keyring.sessions.find(request.handle, channel)
    return m.ResealedSlots(await keyring.openings.resealed(session, request.items))


def open_names(keyring: Keyring, channel: Channel, request: m.OpenNames, _: _Body) -> m.NameKey:
    """The metadata key of an older generation."""
    return m.NameKey(keyring.openings.name_key(keyring.sessions.find(request.handle, channel), request.generation))


# --- from courier --------------------------------------------------------------------------------------------------


def open_queued(keyring: Keyring, _: Channel, request: m.OpenQueued, __: _Body) -> m.QueuedKey:
    """The key of one queued message."""
    keyring.outbound.require_none()
    private_key = keyring.keys.queue_key(read_header(request.box, Kind.QUEUE_KEY_BOX).key_version)
    key = open_queue_key_box(request.box, private_key, keyring.keys.tenant, request.queue_id)
    keyring.openings.opened.queued += 1
    return m.QueuedKey(key)


# --- from the command line -----------------------------------------------------------------------------------------


async def stop_tenant_sessions(
    keyring: Keyring, _: Channel, request: m.StopTenantSessions, __: _Body
) -> m.SessionsEnded:
    """Sessions end at once, in memory, at their gates and at store; the ledger hears of it when it can."""
    epoch, logins, ends = request.epoch, request.stop_logins, request.end_sessions

    def narrow() -> m.SessionsEnded:
        keyring.logins.forget()
        return m.SessionsEnded(keyring.sessions.end(keyring.sessions.all() if ends else [], "stopped"))

    reply = await keyring.stop.stop(
        request, epoch, request.reason, event="StopSessions", logins=logins, sessions=ends, effect=narrow
    )
    keyring.outbox.wake()
    if request.end_sessions:
        await keyring.grants.revoke([], everything=True)
    return reply


async def revoke_credentials(keyring: Keyring, _: Channel, request: m.RevokeCredentials, __: _Body) -> m.SessionsEnded:
    """Nobody is admitted by them from now on, and what they opened is over, here, at the gates and at store."""
    handles: list[bytes] = []

    def narrow() -> m.SessionsEnded:
        keyring.logins.forget_kind(request.which)
        sessions = [session for session in keyring.sessions.all() if request.which & kind_of(session.cred)]
        handles.extend(session.handle for session in sessions if session.seed is not None)
        return m.SessionsEnded(keyring.sessions.end(sessions, "revoked"))

    reply = await keyring.revocation.revoke(request, request.epoch, request.which, request.reason, narrow)
    keyring.outbox.wake()
    await keyring.grants.revoke(handles)
    return reply


async def renew_mailboxes(keyring: Keyring, _: Channel, request: m.RenewMailboxes, __: _Body) -> m.RenewalOrdered:
    """Every mailbox key is to be replaced; the next login by a main password is one that is stretched."""
    reply = await keyring.renewal.order(request)
    keyring.logins.forget()
    return reply


async def set_half_state(keyring: Keyring, _: Channel, request: m.SetHalfState, __: _Body) -> m.SessionsEnded:
    """One of AccountState."""
    await keyring.mailboxes.set_state(request)
    keyring.outbox.wake()
    if request.state in (AccountState.OPEN, AccountState.SWITCHED_ON):
        return m.SessionsEnded(0)
    return m.SessionsEnded(keyring.close(request.account))


async def count_keyring(keyring: Keyring, _: Channel, __: m.CountKeyring, ___: _Body) -> m.KeyringCounts:
    """What is here, and what was opened since start."""
    credentials = await count_keys(keyring.database, "half", ("bid", "g"))
    counts = "SELECT coalesce(sum(state <> 3), 0), coalesce(sum(state = 3), 0) FROM account"
    mailboxes, tombstones = keyring.database.first(counts)
    opened, version = keyring.openings.opened, keyring.keys.ring.current(RING)[0]
    return m.KeyringCounts(
        credentials, mailboxes, tombstones, len(keyring.sessions), opened.messages, opened.pages, opened.queued,
        version, keyring.stop.stopped, keyring.stop.epoch,
        renewal=keyring.renewal.number, renewal_ordered_at=keyring.renewal.ordered_at,
        renewed=keyring.renewal.renewed(), old_boxes=opened.old_boxes, old_pages=opened.old_pages,
        rule_stops=keyring.openings.rate.rule.held(),
    )  # fmt: skip


async def export_keys(keyring: Keyring, _: Channel, request: m.ExportKeys, __: _Body) -> m.ExportedKeys:
    """Sealed mailbox keys, once the ledger knows."""
    return await export_keys_of(keyring.database, keyring.keys, keyring.exchange, request)


def _census(keyring: Keyring, signatures: bool) -> Census:
    return census(keyring.database, keyring.keys, keyring.revocation, signatures=signatures)


HANDLERS: Mapping[type[Request[Any]], Handler] = {
    m.CheckHalf: check_half,
    m.AddHalf: hand_on(lambda keyring, request: keyring.halves.add(request)),
    m.DropHalves: drop_halves,
    m.CheckCached: check_cached,
    m.RedeemLogin: redeem_login,
    m.EndSession: end_session,
    m.OpenArrived: open_arrived,
    m.OpenSlots: open_slots,
    m.OpenPages: open_pages,
    m.OpenNames: open_names,
    m.ResealSlots: reseal_slots,
    m.ReadHalfStates: read_half_states,
    m.EndAccountSessions: end_account_sessions,
    m.RenewMailboxes: renew_mailboxes,
    m.OpenQueued: open_queued,
    m.CreateMailboxKeys: hand_on(lambda keyring, request: keyring.mailboxes.create(request)),
    m.BeginRecovery: hand_on(lambda keyring, request: keyring.recovery.begin(request)),
    m.GrantRecovery: hand_on(lambda keyring, request: keyring.recovery.grant(request)),
    m.StopTenantSessions: stop_tenant_sessions,
    m.RevokeCredentials: revoke_credentials,
    m.LiftSessionStop: hand_on(lambda ring, request: ring.stop.lift(request, request.epoch, request.reason, Done())),
    **outbound_handlers(m),
    m.SetHalfState: set_half_state,
    m.CountKeyring: count_keyring,
    m.CheckKeyring: hand_on(lambda ring, request: _census(ring, request.signatures).page(request.after, request.limit)),
    m.MatchKeyring: hand_on(lambda ring, request: _census(ring, False).of_accounts(request.accounts)),
    m.ExportKeys: export_keys,
    **shared(m),
}
