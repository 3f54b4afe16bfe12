"""The rows of `make bench-imap`: what a subscriber's program does, each as work on a server that holds the mail."""

import random
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.figures import Figures, measure
from bench.imap_client import ImapClient, tls_context
from bench.mail_mix import MailMix
from bench.pop3_client import drain
from bench.server import DOMAIN, PASSWORD, Server

READ_ONE_BY_ONE = 300  # messages of BODY[] and STORE, one command each
READ_TOGETHER = 1000  # messages of BODY[] in one command
APPENDED = 300
COPIED = 1000
ENVELOPES = "FETCH 1:* (UID FLAGS RFC822.SIZE ENVELOPE)"
FIELDS = "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE MESSAGE-ID CONTENT-TYPE)])"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured row. unit: what a unit of the figures is."""

    name: str
    unit: str
    figures: Figures


@contextmanager
def session(server: Server, user: str) -> Iterator[ImapClient]:
    """Logged in."""
    client = ImapClient(server.address, server.imaps)
    client.login(f"{user}@{DOMAIN}", PASSWORD)
    yield client
    client.leave()


def listing(server: Server, user: str, label: str, count: int) -> Iterator[Row]:
    """A program that lists a mailbox it never saw, and the same once more on a new connection.

    What the first SELECT sets off is part of it: Bulkhead then files every message that has arrived, once for ever.
    """
    for time_of in ("first", "later"):
        with session(server, user) as client:
            select = measure(server, count if time_of == "first" else 1, _asks(client, "SELECT INBOX"))
            if time_of == "first":
                yield Row(f"SELECT {label} after delivery, with filing", "message", select)
            else:
                yield Row(f"SELECT {label}, {time_of}", "command", select)
            for name, command in (
                ("FETCH FLAGS", "FETCH 1:* (UID FLAGS)"),
                ("FETCH ENVELOPE", ENVELOPES),
                ("FETCH HEADER.FIELDS", FIELDS),
            ):
                yield Row(f"{name} {label}, {time_of}", "message", measure(server, count, _asks(client, command)))


def _asks(client: ImapClient, command: str) -> Callable[[], object]:
    return lambda: client.ask(command)


def one_by_one(server: Server, user: str, count: int) -> Iterator[Row]:
    """BODY[] and STORE of messages at random, a command each; then STORE, COPY and MOVE of many."""
    chance = random.Random(7)  # noqa: S311 - which messages, no secret
    chosen = chance.sample(range(1, count + 1), min(READ_ONE_BY_ONE, count))
    with session(server, user) as client:
        client.ask("SELECT INBOX")
        yield Row(
            "FETCH BODY[], one by one", "message",
            measure(server, len(chosen), lambda: [client.ask(f"FETCH {n} BODY.PEEK[]") for n in chosen]),
        )  # fmt: skip
        many = min(READ_TOGETHER, count)
        yield Row(
            "FETCH BODY[], together", "message", measure(server, many, _asks(client, f"FETCH 1:{many} BODY.PEEK[]"))
        )
        yield Row(
            "STORE, one by one", "message",
            measure(server, len(chosen), lambda: [client.ask(f"STORE {n} +FLAGS (\\Answered)") for n in chosen]),
        )  # fmt: skip
        yield Row("STORE 1:*", "message", measure(server, count, _asks(client, "STORE 1:* +FLAGS.SILENT (\\Flagged)")))
        copied = min(COPIED, count)
        client.ask("CREATE Copies")
        client.ask("CREATE Moved")
        yield Row("COPY", "message", measure(server, copied, _asks(client, f"COPY 1:{copied} Copies")))
        yield Row("MOVE", "message", measure(server, copied, _asks(client, f"MOVE 1:{copied} Moved")))


def appends(server: Server, user: str, mix: MailMix) -> Iterator[Row]:
    """APPEND of new messages, a command each."""
    with session(server, user) as client:
        client.ask("CREATE Appended")
        messages = [mix.message(number) for number in range(APPENDED)]
        yield Row(
            "APPEND, one by one", "message",
            measure(server, APPENDED, lambda: [client.append("Appended", message) for message in messages]),
        )  # fmt: skip


def searches(server: Server, user: str, count: int) -> Iterator[Row]:
    """SEARCH of a mailbox, each twice."""
    with session(server, user) as client:
        client.ask("SELECT INBOX")
        for name, key in (("FROM", "FROM petra"), ("SUBJECT", "SUBJECT harbour"), ("BODY", 'BODY "zymurgy"')):
            for time_of in ("first", "repeated"):
                figures = measure(server, count, _asks(client, f"UID SEARCH {key}"))
                yield Row(f"SEARCH {name}, {time_of}", "message", figures)


def logins(server: Server, users: list[str], label: str) -> Iterator[Row]:
    """Connect over TLS (no resumption), LOGIN, LOGOUT, one after another; then the same again."""
    for time_of in ("hash not cached", "hash cached"):
        yield Row(
            f"login over TLS, {time_of}{label}", "login", measure(server, len(users), lambda: _log_in(server, users))
        )


def _log_in(server: Server, users: list[str]) -> None:
    for user in users:
        context: ssl.SSLContext = tls_context()
        client = ImapClient(server.address, server.imaps, context)
        client.login(f"{user}@{DOMAIN}", PASSWORD)
        client.leave()


def pop3(server: Server, user: str, count: int) -> Iterator[Row]:
    """LIST, then RETR of everything, one at a time."""

    def work() -> None:
        drain(server.address, server.pop3s, f"{user}@{DOMAIN}", PASSWORD, count)

    yield Row("POP3 drain", "message", measure(server, count, work))
