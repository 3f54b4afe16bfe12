"""`audit send`: access records to a partner's collector, RFC 5424 over TLS (RFC 5425), octet-counted frames.

The state is a file with a time: everything before it was handed to the collector's TCP. It is written after a batch was
sent, so that a cut sends a batch again and leaves none out. TLS says who the collector is; RFC 5425 has no receipt, so
what it lost after it was sent is not known here.
"""

import argparse
import json
import socket
import ssl
import time
from collections.abc import Iterable
from pathlib import Path

from bulkhead.boundary.messages.accesses import ACTS_ALL
from bulkhead.cli.audit import MODULES, Window, addresses_of, entries_of, officers_of, pages
from bulkhead.cli.audit_formats import Entry, to_syslog
from bulkhead.cli.output import say, time_text
from bulkhead.cli.road import Road, open_road, wait_for
from bulkhead.config import write_file
from bulkhead.errors import ConfigError, TemporaryFailure

CONNECT_SECONDS = 20.0
BEHIND_MS = 5_000  # what is younger may still be on its way into a block
EVERY_MAX = 86_400
STATE_MAX = 4096


def send(options: argparse.Namespace) -> int:
    """Send what came since the last time; with --every go on."""
    if not 0 <= options.every <= EVERY_MAX:
        raise ConfigError(f"--every is 0 to {EVERY_MAX} seconds")
    host, port = _collector(options.to)
    context = ssl.create_default_context(cafile=options.ca or None)
    while True:
        road = open_road(options.directory, options.tenant)
        try:
            sent = wait_for(_send(road, options, host, port, context))
            say(f"{options.tenant}: {sent} records sent to {options.to}")
        except TemporaryFailure as failure:  # the collector, or a compartment, is away for a moment
            if not options.every:
                raise
            say(f"{options.tenant}: {failure.public}")
        if not options.every:
            return 0
        time.sleep(options.every)


async def _send(road: Road, options: argparse.Namespace, host: str, port: int, context: ssl.SSLContext) -> int:
    since, until = _read_state(Path(options.state), options.tenant), time.time_ns() // 1_000_000 - BEHIND_MS
    if since > until + BEHIND_MS:
        raise ConfigError(
            f"{options.state} has sent what came until {time_text(since)}, which is still to come: the clock was set "
            "back. Write the time of that into it, so that nothing of since then is left out"
        )
    if since >= until:
        return 0
    sent, whole = 0, until
    async with road:
        names, officers = await addresses_of(road) if options.addresses else {}, await officers_of(road)
        window = Window(since, until, b"", b"", ACTS_ALL, 0, tuple(MODULES))
        with _connected(host, port, context) as connection:
            for compartment in window.compartments:
                async for page in pages(road, compartment, window, 0):
                    entries = entries_of(road, compartment, page, names, officers)
                    _write(connection, entries)
                    sent += len(entries)
                    if page.waiting:  # for room on the disk: sent again from there on, once they are written
                        whole = min(whole, page.waiting)
            _say_goodbye(connection)
    write_file(
        Path(options.state), json.dumps({"tenant": options.tenant, "sent_until": max(since, whole)}), replace=True
    )
    return sent


def frame(message: str) -> bytes:
    """Octet counting of RFC 5425 section 4.3."""
    octets = message.encode()
    return b"%d %s" % (len(octets), octets)


def _write(connection: ssl.SSLSocket, entries: Iterable[Entry]) -> None:
    octets = b"".join(frame(to_syslog(entry)) for entry in entries)
    try:
        connection.sendall(octets)
    except OSError as error:
        raise TemporaryFailure(f"the collector took no more: {error}; the next run goes on", code="collector") from None


def _say_goodbye(connection: ssl.SSLSocket) -> None:
    """Wait until the collector has read to our end; one that closes without close_notify has, too."""
    try:
        connection.unwrap()
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        pass
    except OSError as error:
        why = f"the collector broke off: {error}; the next run sends again"
        raise TemporaryFailure(why, code="collector") from None


def _connected(host: str, port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    try:
        plain = socket.create_connection((host, port), CONNECT_SECONDS)
        return context.wrap_socket(plain, server_hostname=host)
    except OSError as error:
        raise TemporaryFailure(
            f"the collector {host} port {port}: {error}; nothing was sent", code="collector"
        ) from None


def _collector(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError("--to is HOST:PORT; RFC 5425 has port 6514")
    return host.strip("[]"), int(port)


def _read_state(path: Path, tenant: str) -> int:
    try:
        text = path.read_bytes()[:STATE_MAX]
    except FileNotFoundError:
        return 0
    try:
        state = json.loads(text)
        if state["tenant"] == tenant and isinstance(state["sent_until"], int):
            return max(0, state["sent_until"])
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise ConfigError(f"{path} is no state of a transfer of {tenant}; remove it to send everything again")
