"""One function per message to auth. PEERS says who may send which; what they rest on is in the other modules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bulkhead.auth.app_passwords import AppPasswords
from bulkhead.auth.breached import Breached
from bulkhead.auth.check import census
from bulkhead.auth.known import Known
from bulkhead.auth.limits import Limit, Limits
from bulkhead.auth.logins import LoginCounts, Logins, scopes_of
from bulkhead.auth.passwords import Passwords
from bulkhead.auth.rows import AUTH, Keys, Rows
from bulkhead.auth.stretching import Stretching
from bulkhead.auth.watch import Watch
from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange, Handler
from bulkhead.boundary.messages import to_auth as m
from bulkhead.boundary.messages.fields import Done, Request
from bulkhead.holder import backup
from bulkhead.holder.accesses import Accesses
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.database import Database
from bulkhead.holder.desk import Desk
from bulkhead.holder.handing import hand_on
from bulkhead.holder.latency import Latency, timed
from bulkhead.holder.orders import Orders
from bulkhead.holder.outbox import Outbox
from bulkhead.holder.provision import Files
from bulkhead.holder.revocation import Revocation
from bulkhead.holder.rotation import Part, Rotation
from bulkhead.holder.shared import shared
from bulkhead.holder.stop import TenantStop
from bulkhead.holder.surfaces import Surfaces
from bulkhead.holder.walk import count_keys
from bulkhead.records.access import Act
from bulkhead.records.credential import StretchParameters
from bulkhead.records.record import Kind

SEALED = (Part("half", "bid", "g", Kind.AUTH_HALF), Part("app_password", "bid", "1", Kind.APP_PASSWORD_NOTE))
_Body = BodyReader | None


@dataclass(slots=True)
class Auth:
    """The whole of auth's state."""

    database: Database
    rows: Rows
    outbox: Outbox
    stop: TenantStop
    stretching: Stretching
    known: Known
    logins: Logins
    passwords: Passwords
    rotation: Rotation
    surfaces: Surfaces
    granting: Latency = field(default_factory=Latency)
    backups: backup.Backups = field(init=False)
    accesses: Accesses = field(init=False)
    orders: Orders = field(init=False)
    files: Files = field(init=False)
    desk: Desk = field(init=False)

    @classmethod
    def opened(
        cls,
        database: Database,
        keys: Keys,
        exchange: Exchange,
        settings: Mapping[str, Any],
        parameters: StretchParameters,
    ) -> "Auth":
        """Everything in its place."""
        auth = settings["auth"]
        outbox = Outbox(database, exchange)
        surfaces = Surfaces(database, outbox, exchange)
        rows, stop = Rows(database, keys, parameters, Revocation(database, surfaces)), TenantStop(database, exchange)
        stretching = Stretching(auth["argon2_threads"], auth["argon2_queue_max"])
        known = Known(database, rows, auth["known_days"])
        breached = Breached(auth["breached"] == "refuse")
        passwords = Passwords(database, rows, stretching, exchange, breached)
        app_passwords = AppPasswords(database, rows, passwords)
        logins = Logins(
            exchange, rows, stretching, stop, surfaces, Limits(known, settings), auth["failure_seconds"], LoginCounts(),
            auth["cache_minutes"] > 0, scopes_of(auth["main_password"]), passwords, app_passwords, breached,
            Watch(exchange),
        )  # fmt: skip
        logins.limits.tried.watch(surfaces, exchange)
        rotation = Rotation(database, keys.keys, AUTH, SEALED, outbox, exchange)
        return cls(database, rows, outbox, stop, stretching, known, logins, passwords, rotation, surfaces)


async def authenticate(auth: Auth, channel: Channel, request: m.Authenticate, _: _Body) -> Done:
    """The first half of the check, and the question to keyring."""
    with auth.accesses.noting(Act.LOGIN, request.account, channel, request.scope, request.source):
        await auth.logins.authenticate(channel.compartment, request)
    return Done()


async def change_password(auth: Auth, _: Channel, request: m.ChangePassword, __: _Body) -> Done:
    """A new main password, by the one that is set."""

    async def change() -> Done:
        auth.passwords.check_new(request.new)  # no wrong guess at the old one, and not counted as one
        with auth.logins.limits.attempt(request.account, "", "change") as attempt:
            main = await auth.logins.stretch_main(request.account, request.old, attempt)
            return await auth.passwords.change(request, main)

    done = await auth.logins.on_time(change())
    auth.outbox.wake()
    return done


async def add_app_password(auth: Auth, _: Channel, request: m.AddAppPassword, __: _Body) -> m.AppPasswordAdded:
    """An app password, by the main one."""

    async def add() -> m.AppPasswordAdded:
        with auth.logins.limits.attempt(request.account, "", "change") as attempt:
            main = await auth.logins.stretch_main(request.account, request.password, attempt)
            return await auth.logins.app_passwords.add(request, main)

    added = await auth.logins.on_time(add())
    auth.outbox.wake()
    return added


async def stop_tenant_logins(auth: Auth, _: Channel, request: m.StopTenantLogins, __: _Body) -> Done:
    """No login from now on; the ledger hears of it when it can."""
    done = await auth.stop.stop(request, request.epoch, request.reason, event="StopLogins", logins=True, effect=Done)
    auth.outbox.wake()
    return done


async def set_login_state(auth: Auth, _: Channel, request: m.SetLoginState, __: _Body) -> Done:
    """One of AccountState; what is destroyed is so in every file."""
    owner = auth.rows.owner(request.account)
    await auth.database.write(partial(auth.rows.keys.accounts.ask, owner=owner, request=request))
    if request.state == AccountState.DESTROYED:
        auth.outbox.wake()
        auth.known.forget(request.account)
        await auth.database.truncate_wal()
    return Done()


async def count_credentials(auth: Auth, _: Channel, __: m.CountCredentials, ___: _Body) -> m.AuthCounts:
    """How many credentials, and the stop."""
    credentials = await count_keys(auth.database, "half", ("bid",))
    return m.AuthCounts(credentials, auth.stop.stopped, auth.stop.epoch)


def count_logins(auth: Auth, _: Channel, __: m.CountLogins, ___: _Body) -> m.LoginCounts:
    """Since start."""
    logins, spread = auth.logins, auth.logins.limits.spread
    floor = logins.failure_floor()
    return m.LoginCounts(
        logins.counts.granted,
        logins.counts.refused,
        **{limit.value: logins.limits.refused[limit] for limit in Limit},
        failing=spread.count,
        stuffing=spread.over,
        episodes=spread.episodes,
        failure_ms=round(1000 * max(logins.failure_seconds, floor)),
        failure_floor_ms=round(1000 * floor),
        granting=auth.granting.said(),
        rule_stops=logins.limits.tried.held(),
    )


HANDLERS: Mapping[type[Request[Any]], Handler] = {
    m.Authenticate: timed(authenticate, lambda auth: auth.granting),
    m.SetPassword: hand_on(lambda auth, request: auth.passwords.set(request), wake=True),
    m.ChangePassword: change_password,
    m.AddAppPassword: add_app_password,
    m.ListAppPasswords: hand_on(lambda auth, request: auth.logins.app_passwords.list(request.account)),
    m.RevokeAppPasswords: hand_on(lambda auth, request: auth.logins.app_passwords.revoke(request), wake=True),
    m.RevokeCredentials: hand_on(
        lambda auth, request: auth.rows.revocation.revoke(request, request.epoch, request.which, request.reason, Done),
        wake=True,
    ),
    m.StopTenantLogins: stop_tenant_logins,
    m.LiftTenantStop: hand_on(lambda auth, request: auth.stop.lift(request, request.epoch, request.reason, Done())),
    m.SetLoginState: set_login_state,
    m.CountCredentials: count_credentials,
    m.CountLogins: count_logins,
    m.CheckAuth: hand_on(lambda auth, request: census(auth.database, auth.rows).page(request.after, request.limit)),
    m.MatchAuth: hand_on(lambda auth, request: census(auth.database, auth.rows).of_accounts(request.accounts)),
    **shared(m),
}
