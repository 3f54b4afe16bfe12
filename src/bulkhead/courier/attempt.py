"""One attempt at one message: recipients by domain, domains side by side, hosts in order; an outcome for everyone.

Decisions, with their reasons in docs/outbound.md: TLS without authentication wherever STARTTLS is offered; where the
handshake fails the same address is tried once more in clear; deferred recipients are offered to the next host within
the attempt; a recipient whose outcome is UNKNOWN never is.
"""

import asyncio
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bulkhead.boundary.dialed import require_connected_to
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_dialer import DialTcp
from bulkhead.boundary.messages.to_directory import Recipient, RecipientVerdict, ResolveRecipient
from bulkhead.boundary.messages.to_queue import Work
from bulkhead.boundary.messages.to_resolver import FindMailHosts
from bulkhead.courier.connection import Connection
from bulkhead.courier.links import HostSlots, Links, Place
from bulkhead.courier.request_id import derived_id
from bulkhead.courier.route import (
    HOPS_MAX,
    LOOP,
    NOT_ALLOWED,
    NOT_ALLOWED_HERE,
    Addressee,
    Result,
    Shuffle,
    Target,
    by_domain,
    hops,
    is_private,
    route,
)
from bulkhead.courier.session import Link, Manner, SessionReport
from bulkhead.courier.spool import Text, load
from bulkhead.errors import Error, IntegrityError, Refused, TemporaryFailure
from bulkhead.gate.delivery import Sealer, deliver
from bulkhead.identifiers import Address, DomainName
from bulkhead.wire.smtp_client_events import TlsPolicy
from bulkhead.wire.smtp_codes import Code
from bulkhead.wire.smtp_notify import Notify, Wish
from bulkhead.wire.smtp_outcome import Envelope, Outcome
from bulkhead.wire.trace import return_path_field

DOMAINS_AT_ONCE = 8  # of one message
RECIPIENTS_AT_ONCE = 100  # of one transaction: what every server takes (RFC 5321 section 4.5.3.1.8)
RESOLVE_SECONDS = 120.0
PATIENCE = (0.5, 1.0, 2.0, 4.0)  # seconds between tries while a neighbour restarts
CUT_SHORT = Result(Outcome.DEFERRED, "4.3.0", "this system could not try the domain now")
_PASSING = ("edge-ended", "starting", "fault", "busy", "aborted", "storage")
_log = logging.getLogger("bulkhead.courier")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Means:
    """What every attempt of this process shares."""

    exchange: Exchange
    sealer: Sealer
    manner: Manner
    port: int
    connect_seconds: float
    sessions: asyncio.Semaphore
    hosts: HostSlots
    links: Links
    shuffle: Shuffle = field(default=random.SystemRandom().shuffle)


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """`ask`, asked again while the neighbour that should answer restarts. Raises its last error."""
    for seconds in PATIENCE:
        try:
            return await ask()
        except TemporaryFailure as failure:
            if failure.code not in _PASSING:
                raise
        await asyncio.sleep(seconds)
    return await ask()


class Attempt:
    """One attempt. `run` gives every recipient of the work a Result; `text` is there for a notification after it."""

    def __init__(self, means: Means, work: Work, reverse_path: Address | None) -> None:
        self._means, self._work, self._reverse_path = means, work, reverse_path
        self.text: Text | None = None
        self.results: dict[int, Result] = {}

    async def run(self, now: int) -> dict[int, Result]:
        """Try every recipient once. now: seconds, for mail that turns out to be ours."""
        domains, self.results = by_domain(self._work.recipients)
        waiting = [addressee for addressees in domains.values() for addressee in addressees]
        try:
            self.text = await patiently(lambda: load(self._means.exchange, self._work))
        except Error as error:
            level = logging.ERROR if isinstance(error, IntegrityError) else logging.WARNING
            _log.log(level, "a queued message cannot be opened: %s", error.public)
            return self._settle(waiting, Result(Outcome.DEFERRED, "4.3.0", "the queued message cannot be opened now"))
        if hops(self.text.header) > HOPS_MAX:
            return self._settle(waiting, LOOP)
        at_once = asyncio.Semaphore(DOMAINS_AT_ONCE)
        text = self.text

        async def one(domain: DomainName, addressees: list[Addressee]) -> None:
            async with at_once:
                try:
                    await self._try_domain(domain, addressees, text, now)
                except Error as error:
                    _log.warning("an attempt was cut short: %s (%s)", error.public, error.code)
                    left = [addressee for addressee in addressees if addressee[0] not in self.results]
                    self._settle(left, CUT_SHORT)
                except Exception:  # our bug at one domain: the message is tried again, and the log says where
                    _log.exception("fault in an attempt")
                    self._settle([addressee for addressee in addressees if addressee[0] not in self.results], CUT_SHORT)

        await asyncio.gather(*(one(domain, addressees) for domain, addressees in domains.items()))
        return self.results

    def _settle(self, addressees: Sequence[Addressee], result: Result) -> dict[int, Result]:
        for number, _ in addressees:
            self.results[number] = result
        return self.results

    async def _try_domain(self, domain: DomainName, addressees: list[Addressee], text: Text, now: int) -> None:
        first = await self._resolve(addressees[0][1])
        if first.verdict != RecipientVerdict.NOT_OURS:
            for number, address in addressees:
                self.results[number] = await self._deliver_here(number, address, text, now)
            return
        exchange = self._means.exchange
        hosts = await patiently(lambda: exchange.to("resolver").call(FindMailHosts(domain), timeout=RESOLVE_SECONDS))
        way = route(hosts, self._means.manner.name, self._means.shuffle)
        if isinstance(way, Result):
            self._settle(addressees, way)
            return
        await self._try_targets(way, addressees, text)

    # --- elsewhere ---------------------------------------------------------------------------------------------------

    async def _try_targets(self, targets: tuple[Target, ...], addressees: list[Addressee], text: Text) -> None:
        """Offer the recipients to one address after the other, as long as some are neither delivered nor refused."""
        pending = dict(addressees)
        last: dict[int, Result] = {}
        answered: set[DomainName] = set()
        allowed = False
        not_allowed = NOT_ALLOWED
        for target in targets:
            if not pending:
                break
            if target.host in answered:
                continue
            try:
                await self._offer(target, pending, last, text)
            except Refused:  # dialer's rules: it goes nowhere, or not as this installation is set up
                if is_private(target.address):
                    not_allowed = NOT_ALLOWED_HERE
                    _log.warning("a mail server has a private address: courier.allow_networks does not name it")
                continue
            except TemporaryFailure as failure:
                allowed = True
                reason = f"no connection: {failure.public}"
                for number in pending:
                    _note(last, number, Result(Outcome.DEFERRED, "4.4.1", reason, None, target.host))
                continue
            allowed = True
            answered.add(target.host)
        for number, _ in addressees:
            self.results[number] = last[number] if allowed else not_allowed

    async def _offer(self, target: Target, pending: dict[int, Address], last: dict[int, Result], text: Text) -> None:
        """Offer the recipients in transactions of as many as every server takes; those settled leave `pending`.

        Raises Refused and TemporaryFailure where there is no connection.
        """
        numbers = list(pending)
        for start in range(0, len(numbers), RECIPIENTS_AT_ONCE):
            batch = {number: pending[number] for number in numbers[start : start + RECIPIENTS_AT_ONCE]}
            report = await self._meet(target, batch, text)
            if not report.results:
                for number in pending:
                    _note(last, number, _without_transaction(report, target.host))
                break
            for number, result in zip(batch, _results(report, target.host), strict=True):
                last[number] = result
                if result.outcome is not Outcome.DEFERRED:
                    del pending[number]

    async def _meet(self, target: Target, pending: Mapping[int, Address], text: Text) -> SessionReport:
        """One session, or a second in clear where the handshake of the first failed."""
        queued = text.envelope
        wishes = tuple(Wish(Notify(queued.wish(number).notify), queued.wish(number).original) for number in pending)
        envelope = Envelope(
            self._reverse_path,
            tuple(pending.values()),
            self._work.size,
            text.eight_bit,
            utf8_header=queued.utf8 and not text.header.isascii(),
            wishes=wishes,
            ret=queued.ret,
            envid=queued.envid,
        )
        means, place = self._means, (target.host, target.address)
        async with means.hosts.slot(target.host), means.sessions:
            link = means.links.take(place)
            if link is not None:
                report = await self._carry(place, link, envelope, text)
                if not _lost_unheard(report):
                    return report
            report = await self._session(target, envelope, text, TlsPolicy.OPPORTUNISTIC)
            if report.handshake_failed:
                report = await self._session(target, envelope, text, TlsPolicy.NEVER)
        return report

    async def _session(self, target: Target, envelope: Envelope, text: Text, policy: TlsPolicy) -> SessionReport:
        means = self._means
        request = DialTcp(target.address, means.port, int(means.connect_seconds * 1000))
        dialer = means.exchange.to("dialer")
        _, sock = await patiently(lambda: dialer.dial(request, timeout=means.connect_seconds + 5.0))
        require_connected_to(sock, socket.SOCK_STREAM, target.address, means.port)
        connection = await Connection.over(sock)
        link = Link(connection, means.manner, target.host, policy)
        return await self._carry((target.host, target.address), link, envelope, text)

    async def _carry(self, place: Place, link: Link, envelope: Envelope, text: Text) -> SessionReport:
        try:
            report = await link.carry(envelope, text.pieces())
        except BaseException:
            link.close()
            raise
        self._means.links.give(place, link)
        return report

    # --- here --------------------------------------------------------------------------------------------------------

    async def _resolve(self, address: Address) -> Recipient:
        directory = self._means.exchange.to("directory")
        return await patiently(lambda: directory.call(ResolveRecipient(str(address))))

    async def _deliver_here(self, number: int, address: Address, text: Text, now: int) -> Result:
        """Into a mailbox of this very cell, which `submit` reaches by itself: only a domain added since comes here."""
        found = await self._resolve(address)
        if found.verdict == RecipientVerdict.CLOSED:
            return Result(Outcome.FAILED, "5.2.1", "the mailbox takes no mail")
        if found.verdict != RecipientVerdict.LOCAL or found.binding is None:
            return Result(Outcome.FAILED, "5.1.1", "no such mailbox")
        message = return_path_field(self._reverse_path) + b"".join(text.pieces())
        request_id = derived_id(self._work.queue_id, (number,), "local")
        means, bindings = self._means, [found.binding, *found.others]
        try:
            await patiently(
                lambda: deliver(
                    means.exchange, means.sealer, bindings, message, now, actor="courier", request_id=request_id
                )
            )
        except Refused as refused:
            return Result(Outcome.DEFERRED, "4.2.2", f"the mailbox cannot take it now: {refused.public}")
        return Result(Outcome.DELIVERED, "2.1.5", "delivered here")


def _lost_unheard(report: SessionReport) -> bool:
    """Whether a link that had waited was over before this message had any outcome: no server has any of it."""
    return report.ended is not None and all(
        result.outcome is Outcome.DEFERRED and (result.reply is None or result.reply.code == Code.UNAVAILABLE)
        for result in report.results
    )


def _note(last: dict[int, Result], number: int, result: Result) -> None:
    """Keep the result that says most, of hosts that came to no transaction: a host may be tried again before a 5yz
    greeting of another counts, and what a server said tells more than that one was not there.
    """
    before = last.get(number)
    if (
        before is None
        or before.outcome is Outcome.FAILED
        or (before.reply is None and result.outcome is Outcome.DEFERRED)
    ):
        last[number] = result


def _results(report: SessionReport, host: DomainName) -> list[Result]:
    """One Result for each recipient offered."""
    passed = report.wishes_passed
    return [Result(found.outcome, found.status, found.reason, found.reply, host, passed) for found in report.results]


def _without_transaction(report: SessionReport, host: DomainName) -> Result:
    """What a session in which no transaction took place means for every recipient."""
    ended = report.ended
    if ended is None or ended.outcome is None:
        return Result(Outcome.DEFERRED, "4.4.2", "the connection ended", None, host)
    status = "5.0.0" if ended.outcome is Outcome.FAILED else "4.4.2"
    if ended.reply is not None and ended.reply.status.startswith(status[0]):
        status = ended.reply.status
    return Result(ended.outcome, status, ended.reason, ended.reply, host)
