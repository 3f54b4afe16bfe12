"""Real mail between the demonstration's subscribers: sent over TLS, delivered by SMTP, read back and compared."""

import random
import ssl
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from bulkhead.demo import corpus
from bulkhead.demo.endpoints import Endpoint, fetch_all, inbox, mx, submission
from bulkhead.demo.people import ACTIVE, Subscriber
from bulkhead.errors import IntegrityError

PER_SENDER = 4  # messages that each subscriber sends
FROM_OUTSIDE = 10  # messages that each tenant gets from elsewhere
CONNECTIONS = 8  # at once
OUTSIDE = "outside.example"
_EIGHT_BIT = ["BODY=8BITMIME"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that go over one connection. sender: None for mail from outside."""

    sender: Subscriber | None
    endpoint: Endpoint
    letters: tuple[tuple[str, tuple[str, ...], bytes], ...] = field(repr=False)  # reverse-path, recipients, octets


def plan(endpoints: Mapping[str, Endpoint], people: Sequence[Subscriber], seed: int) -> list[Batch]:
    """What will be sent: half of it to the same tenant, half to others, and some from outside."""
    choose = random.Random(seed)  # noqa: S311 (who writes to whom in a demonstration)
    active = [person for person in people if person.status == ACTIVE]
    batches = []
    for sender in active:
        letters = []
        for number, other in enumerate((False, True) * (PER_SENDER // 2)):
            pool = [p for p in active if (p.tenant != sender.tenant) == other and p is not sender]
            recipients = tuple(p.address for p in choose.sample(pool, choose.choice((1, 1, 1, 2))))
            letters.append((sender.address, recipients, _letter(seed + number, sender.address, recipients)))
        batches.append(Batch(sender, endpoints[sender.tenant], tuple(letters)))
    for endpoint in endpoints.values():
        own = [p.address for p in active if p.tenant == endpoint.tenant]
        letters = []
        for number in range(FROM_OUTSIDE):
            author, recipient = f"friend{number}@{OUTSIDE}", (own[number % len(own)],)
            letters.append((author, recipient, _letter(seed, author, recipient)))
        batches.append(Batch(None, endpoint, tuple(letters)))
    return batches


def _letter(seed: int, sender: str, recipients: Sequence[str]) -> bytes:
    return next(corpus.messages(seed, 1, sender, recipients))


def copies(batches: Iterable[Batch]) -> Counter[str]:
    """Address to how many messages it will get."""
    return Counter(to for batch in batches for _, recipients, _ in batch.letters for to in recipients)


def send(batch: Batch, context: ssl.SSLContext) -> int:
    """Send one batch; how many messages were accepted. Raises smtplib.SMTPException, OSError."""
    road = submission(batch.endpoint, context, batch.sender) if batch.sender else mx(batch.endpoint, f"mx.{OUTSIDE}")
    with road as client:
        for author, recipients, octets in batch.letters:
            client.sendmail(author, recipients, octets, mail_options=_EIGHT_BIT)
    return len(batch.letters)


def send_all(batches: Sequence[Batch], context: ssl.SSLContext, progress: Callable[[int, int], None]) -> int:
    """Send every batch, 8 connections at once; progress(sent, total) after each. Raises as send."""
    total, sent = sum(len(batch.letters) for batch in batches), 0
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for count in pool.map(lambda batch: send(batch, context), batches):
            sent += count
            progress(sent, total)
    return sent


def wait_until(count: Callable[[], int], wanted: int, seconds: float, progress: Callable[[int, int], None]) -> int:
    """Wait until `count` reaches `wanted`, at most so many seconds; what it reached."""
    deadline = time.monotonic() + seconds
    while (found := count()) < wanted and time.monotonic() < deadline:
        progress(found, wanted)
        time.sleep(0.1)
    progress(min(found, wanted), wanted)
    return found


def compare(
    batches: Iterable[Batch], readers: Sequence[Subscriber], endpoints: Mapping[str, Endpoint], context: ssl.SSLContext
) -> int:
    """Read the readers' INBOXes by IMAP and compare octet by octet; how many messages were equal.

    A delivered message is the sent one under new trace fields (RFC 5321 section 4.4). Raises IntegrityError.
    """
    sent: dict[str, list[bytes]] = defaultdict(list)
    for batch in batches:
        for _, recipients, octets in batch.letters:
            for recipient in recipients:
                sent[recipient].append(octets if octets.endswith(b"\r\n") else octets + b"\r\n")
    equal = 0
    for reader in readers:
        with inbox(endpoints[reader.tenant], context, reader) as client:
            found = fetch_all(client)
        for octets in sent[reader.address]:
            if not any(message.endswith(octets) for message in found):
                raise IntegrityError(f"a message to {reader.address} did not come back as it was sent")
            equal += 1
    return equal
