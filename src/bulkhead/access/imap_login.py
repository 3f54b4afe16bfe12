"""Commands that need no mailbox: CAPABILITY, NOOP, LOGOUT, ID, ENABLE, STARTTLS, LOGIN, AUTHENTICATE PLAIN."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bulkhead.access.outcome import Ok
from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.errors import PeerError, Refused
from bulkhead.gate.serve import ConnectionEnded
from bulkhead.wipe import wipe
from bulkhead.wire.imap import commands as c
from bulkhead.wire.imap import responses
from bulkhead.wire.imap.command_table import State
from bulkhead.wire.imap.grammar import CommandError, Condition
from bulkhead.wire.sasl import CancelledError, Challenge, Credentials, Mechanism, Plain

if TYPE_CHECKING:
    from bulkhead.access.imap_session import ImapSession

_MECHANISMS: Final[Mapping[str, Callable[[], Mechanism]]] = {"PLAIN": Plain}
_NAME: Final = ((b"name", b"Bulkhead"),)


@dataclass(frozen=True, slots=True)
class Exchange:
    """An AUTHENTICATE that waits for the client's line."""

    tag: bytes
    mechanism: Mechanism


async def capability(session: "ImapSession", tag: bytes, command: c.Capability) -> Ok:
    """What works in this state."""
    session.output.send(responses.untagged_data(session.capabilities))
    return Ok("CAPABILITY completed")


async def noop(session: "ImapSession", tag: bytes, command: c.Noop) -> Ok:
    """Nothing, but news."""
    return Ok("NOOP completed")


async def logout(session: "ImapSession", tag: bytes, command: c.Logout) -> Ok:
    """BYE."""
    session.output.send(responses.untagged(Condition.BYE, "Logging out"))
    session.output.send(responses.tagged(tag, Condition.OK, "LOGOUT completed"))
    session.select(None)
    session.receiver.state = State.LOGOUT
    return Ok("", silent=True)


async def identify(session: "ImapSession", tag: bytes, command: c.Id) -> Ok:
    """ID (RFC 2971): who we are, without version; what the client said is not kept."""
    session.output.send(responses.id_line(_NAME))
    return Ok("ID completed")


async def compress(session: "ImapSession", tag: bytes, command: c.Compress) -> Ok:
    """COMPRESS (RFC 4978): the OK is the last that goes as it is."""
    if session.compressed:
        raise CommandError(
            "DEFLATE is active", condition=Condition.NO, response_code=responses.Code.COMPRESSIONACTIVE.value
        )
    session.output.send(responses.tagged(tag, Condition.OK, "DEFLATE active"))
    session.compress()
    return Ok("", silent=True)


async def enable(session: "ImapSession", tag: bytes, command: c.Enable) -> Ok:
    """ENABLE (RFC 5161); what we do not know is passed over."""
    names = [name for name in dict.fromkeys(command.capabilities) if name in _ENABLED]
    session.output.send(responses.enabled_line(names))
    for name in names:
        await _ENABLED[name](session)
    return Ok("ENABLE completed")


async def _enable_qresync(session: "ImapSession") -> None:
    session.enabled.qresync = True
    await session.enable_condstore()


async def _enable_utf8(session: "ImapSession") -> None:
    session.enabled.utf8_accept = session.receiver.utf8_accept = session.receiver.utf8_names = True


async def _enable_rev2(session: "ImapSession") -> None:
    session.enabled.rev2 = session.receiver.utf8_names = True


_ENABLED: Final[Mapping[bytes, Callable[["ImapSession"], Awaitable[None]]]] = {
    b"CONDSTORE": lambda session: session.enable_condstore(),
    b"IMAP4REV2": _enable_rev2,
    b"QRESYNC": _enable_qresync,
    b"UTF8=ACCEPT": _enable_utf8,
}


async def start_tls(session: "ImapSession", tag: bytes, command: c.StartTls) -> Ok:
    """STARTTLS (RFC 9051 section 6.2.1): nothing that came behind it in clear is obeyed."""
    if session.context is None:
        raise ValueError("STARTTLS on a connection that has TLS")
    session.connection.pause()
    try:
        session.receiver.start_tls()
    except PeerError as error:
        session.output.send(responses.untagged(Condition.BYE, error.public))
        raise ConnectionEnded(error.public) from None
    session.output.send(responses.tagged(tag, Condition.OK, "Begin TLS"))
    session.output.push()
    if session.connection.buffered:
        raise ConnectionEnded("octets in clear behind STARTTLS")
    await session.connection.start_tls(session.context())
    session.context = None
    return Ok("", silent=True)


def _require_tls(session: "ImapSession") -> None:
    """Raises CommandError where the password would be read in clear (RFC 9051 section 6.2.3, RFC 5530 section 3)."""
    if session.context is not None:
        raise CommandError("begin TLS with STARTTLS first", condition=Condition.NO, response_code=b"PRIVACYREQUIRED")


async def login(session: "ImapSession", tag: bytes, command: c.Login) -> Ok:
    """LOGIN."""
    _require_tls(session)
    return await _admit(session, command.username, command.password)


async def authenticate(session: "ImapSession", tag: bytes, command: c.Authenticate) -> Ok:
    """AUTHENTICATE, with an initial response or without (RFC 4959)."""
    _require_tls(session)
    make = _MECHANISMS.get(command.mechanism)
    if make is None:
        raise CommandError("mechanism is not supported", condition=Condition.NO, response_code=b"CANNOT")
    mechanism = make()
    return await _step(session, tag, mechanism, mechanism.start, command.initial_response)


async def respond(session: "ImapSession", exchange: Exchange, line: bytes) -> Ok:
    """The client's line of an AUTHENTICATE under way."""
    return await _step(session, exchange.tag, exchange.mechanism, exchange.mechanism.respond, line)


async def _step(
    session: "ImapSession",
    tag: bytes,
    mechanism: Mechanism,
    step: Callable[[Any], Challenge | Credentials],
    line: bytes | None,
) -> Ok:
    """One step; the line that it takes is overwritten."""
    try:
        outcome = step(line)
    except CancelledError:
        raise CommandError("authentication cancelled") from None
    except PeerError as error:
        session.failed_logins += 1
        raise CommandError(error.public) from None
    finally:
        wipe(line)
    if isinstance(outcome, Challenge):
        session.receiver.expect_line()
        session.authenticating = Exchange(tag, mechanism)
        session.output.send(responses.continuation(outcome.base64))
        return Ok("", silent=True)
    if outcome.authzid not in ("", outcome.authcid):
        session.failed_logins += 1
        raise CommandError(
            "nobody acts for another here",
            condition=Condition.NO,
            response_code=responses.Code.AUTHORIZATIONFAILED.value,
        )
    return await _admit(session, outcome.authcid, outcome.password)


async def _admit(session: "ImapSession", name: str, password: bytes) -> Ok:
    """The client's session, where both halves of the check say yes. A refusal comes at auth's fixed time."""
    await session.output.flush()
    try:
        account = await session.worker.log_in(name, password, Scope.IMAP, session.connection.source)
    except Refused:
        session.failed_logins += 1
        raise CommandError(
            "Authentication failed", condition=Condition.NO, response_code=responses.Code.AUTHENTICATIONFAILED.value
        ) from None
    await session.enter(account)
    return Ok("Logged in", session.capabilities)


HANDLERS: Final[Mapping[type[c.Command], Callable[["ImapSession", bytes, Any], Awaitable[Ok]]]] = {
    c.Authenticate: authenticate,
    c.Capability: capability,
    c.Compress: compress,
    c.Enable: enable,
    c.Id: identify,
    c.Login: login,
    c.Logout: logout,
    c.Noop: noop,
    c.StartTls: start_tls,
}
