"""Containment, timed: one tenant's logins and sessions stop, its mail still arrives, the others do not notice."""

import argparse
import contextlib
import imaplib
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bulkhead.cli.road import open_road, wait_for
from bulkhead.cli.stop import act
from bulkhead.demo.endpoints import Endpoint, inbox, mx, submission
from bulkhead.demo.people import ACTIVE, Subscriber
from bulkhead.demo.settle import count_messages

BYE_SECONDS = 10.0
VISIBLE_SECONDS = 15.0
POLL_SECONDS = 0.03
ROUND_TRIPS = 20
REASON = "demonstration of a breach"
_AUTHOR = "friend0@outside.example"


@dataclass(frozen=True, slots=True)
class Containment:
    """What the stop did. Milliseconds from the order; None: it did not happen.

    arrived: messages to the stopped tenant that were accepted and then counted in its store, of `sent`.
    errors: of the round trips, in words. longest: milliseconds of the slowest one.
    """

    tenant: str
    sessions_ended: int
    durable_ms: float | None
    bye_ms: float | None
    refused_ms: float | None
    refusal: str
    sent: int
    arrived: int
    round_trips: int
    errors: tuple[str, ...]
    longest_ms: float

    @property
    def effect_ms(self) -> float | None:
        """From the order until the sessions had ended and new logins were refused for good."""
        parts = (self.durable_ms, self.bye_ms)
        return None if None in parts else max(part for part in parts if part is not None)


class LiveSession:
    """An IMAP session that waits (IDLE) in a thread of its own, and the moment it was told BYE."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext, who: Subscriber) -> None:
        self.bye: float | None = None
        self.last = ""
        self._client = imaplib.IMAP4_SSL(endpoint.address, endpoint.imaps, ssl_context=context, timeout=BYE_SECONDS)
        self._client.login(who.address, who.password)
        self._client.select("INBOX")
        self._client.send(b"z IDLE\r\n")
        self._client.readline()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            while line := self._client.readline():
                self.last = line.decode("ascii", "replace").strip()
                if line.startswith(b"* BYE"):
                    self.bye = time.monotonic()
                    return

    def wait(self) -> float | None:
        """When BYE came, waiting up to 10 s."""
        self._thread.join(BYE_SECONDS)
        with contextlib.suppress(OSError):
            self._client.shutdown()
        return self.bye


def order(directory: Path, tenant: str, *, lift: bool = False) -> tuple[float, float | None, int]:
    """Give the command line's own stop (or lift it): when it began, ms until all was durable, sessions ended."""
    options = argparse.Namespace(
        logins=not lift, sessions=not lift, outbound=False, lift=lift, reason=REASON, tenant=tenant
    )
    road = open_road(str(directory), tenant)
    begin = time.monotonic()
    effects, sessions, _ = wait_for(act(options, road, time.time_ns() // 1_000_000, begin))
    done = [effect["milliseconds"] for effect in effects if effect["done"]]
    return begin, max(done) if done and len(done) == len(effects) else None, sessions


def contain(
    directory: Path,
    endpoints: Mapping[str, Endpoint],
    people: Sequence[Subscriber],
    context: ssl.SSLContext,
    tenant: str,
    progress: Callable[[int, int], None],
) -> Containment:
    """Stop `tenant` and show all three. Raises imaplib or smtplib errors only where the live session cannot begin."""
    active = {t: [p for p in people if p.tenant == t and p.status == ACTIVE] for t in endpoints}
    live = LiveSession(endpoints[tenant], context, active[tenant][0])
    begin, durable, sessions = order(directory, tenant)
    refused, refusal = _try_login(endpoints[tenant], context, active[tenant][1], begin)
    bye = live.wait()
    sent, arrived = _still_arriving(directory, endpoints[tenant], active[tenant])
    others = [t for t in endpoints if t != tenant]
    errors, longest = _round_trips(endpoints, active, others, context, progress)
    return Containment(
        tenant=tenant, sessions_ended=sessions, durable_ms=durable,
        bye_ms=None if bye is None else round((bye - begin) * 1000, 1), refused_ms=refused, refusal=refusal,
        sent=sent, arrived=arrived, round_trips=ROUND_TRIPS, errors=tuple(errors), longest_ms=longest,
    )  # fmt: skip


def _try_login(endpoint: Endpoint, context: ssl.SSLContext, who: Subscriber, begin: float) -> tuple[float | None, str]:
    """Milliseconds from the order until the server's no to a right password, and its words; None when it let us in."""
    try:
        with inbox(endpoint, context, who):
            return None, "let in"
    except (imaplib.IMAP4.error, OSError) as error:
        return round((time.monotonic() - begin) * 1000, 1), _words(error)


def _words(error: Exception) -> str:
    first = error.args[0] if error.args else error
    return first.decode("ascii", "replace") if isinstance(first, bytes) else str(first)


def _still_arriving(directory: Path, endpoint: Endpoint, readers: Sequence[Subscriber]) -> tuple[int, int]:
    """Messages sent to the stopped tenant from outside, and how many its store has more than before."""
    before = count_messages(directory, [endpoint.tenant])[endpoint.tenant]
    sent = 0
    with mx(endpoint, "mx.outside.example") as client:
        for reader in readers[:5]:
            client.sendmail(_AUTHOR, reader.address, _message(_AUTHOR, reader.address, secrets.token_hex(8)))
            sent += 1
    return sent, count_messages(directory, [endpoint.tenant])[endpoint.tenant] - before


def _message(author: str, recipient: str, token: str) -> bytes:
    head = f"From: <{author}>\r\nTo: <{recipient}>\r\nSubject: Round trip {token}\r\nMessage-ID: <{token}@demo.example>"
    return f"{head}\r\nDate: Wed, 17 Jun 2026 09:00:00 +0900\r\n\r\nStill here.\r\n".encode("ascii")


def _round_trips(
    endpoints: Mapping[str, Endpoint],
    active: Mapping[str, Sequence[Subscriber]],
    tenants: Sequence[str],
    context: ssl.SSLContext,
    progress: Callable[[int, int], None],
) -> tuple[list[str], float]:
    """Errors of the round trips from one tenant to the next, and the slowest one's milliseconds."""
    done = 0
    room = threading.Lock()

    def lane(start: int) -> list[tuple[str, float]]:
        nonlocal done
        found = []
        for number in range(start, ROUND_TRIPS, len(tenants)):
            senders, readers = active[tenants[number % len(tenants)]], active[tenants[(number + 1) % len(tenants)]]
            sender, reader = senders[number % len(senders)], readers[number % len(readers)]
            begin = time.monotonic()
            try:
                _round_trip(endpoints, sender, reader, context)
                error = ""
            except Exception as fault:  # whatever breaks a client is what is being counted
                error = f"{sender.tenant} to {reader.tenant}: {type(fault).__name__}: {_words(fault)}"
            found.append((error, (time.monotonic() - begin) * 1000))
            with room:
                done += 1
                progress(done, ROUND_TRIPS)
        return found

    with ThreadPoolExecutor(len(tenants)) as pool:
        trips = [trip for found in pool.map(lane, range(len(tenants))) for trip in found]
    return [error for error, _ in trips if error], round(max(taken for _, taken in trips), 1)


def _round_trip(
    endpoints: Mapping[str, Endpoint], sender: Subscriber, reader: Subscriber, context: ssl.SSLContext
) -> None:
    """Submit over TLS, then wait until IMAP shows it. Raises TimeoutError, smtplib or imaplib errors."""
    token = secrets.token_hex(8)
    with submission(endpoints[sender.tenant], context, sender) as client:
        client.sendmail(sender.address, reader.address, _message(sender.address, reader.address, token))
    deadline = time.monotonic() + VISIBLE_SECONDS
    with inbox(endpoints[reader.tenant], context, reader) as client:
        while time.monotonic() < deadline:
            client.noop()
            _, answer = client.uid("SEARCH", "SUBJECT", token)
            if answer and answer[0]:
                return
            time.sleep(POLL_SECONDS)
    raise TimeoutError(f"not visible after {VISIBLE_SECONDS:.0f} s")
