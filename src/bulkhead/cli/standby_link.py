"""`standby link-key|serve`, and what `standby ship --to` names: a transport where no directory is mounted."""

import argparse
import ipaddress
import logging
import re
import socket
from pathlib import Path

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import say
from bulkhead.cli.road import wait_for
from bulkhead.cli.secret_file import read_secret, write_secret
from bulkhead.errors import ConfigError
from bulkhead.identifiers import TenantId, parse_tenant_id
from bulkhead.standby.identity import PEM_MAX, Pinned, client_context, make_identity, server_context
from bulkhead.standby.inbox import Inbox
from bulkhead.standby.link import Address, LinkWay
from bulkhead.standby.place import Place, make_folder
from bulkhead.standby.receive import Receiver
from bulkhead.standby.way import DirectoryWay, Way

SCHEME = "tls://"
CHANNELS = ("directory", "auth", "keyring", "store", "queue", "incident", "ledger")
"""The holders by the number of their channel, from 1: part of the protocol."""
BACKLOG = 64
GIB = 1 << 30
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})")


def link_key(options: argparse.Namespace) -> int:
    """Make one side's key of the link, and print the certificate that the other side pins."""
    private, public = make_identity(parse_tenant_id(options.tenant))
    write_secret(Path(options.out).absolute(), private)
    print(public.decode("ascii"), end="")
    return ExitCode.OK


def serve(options: argparse.Namespace) -> int:
    """Receive what a primary ships until this is ended by a signal."""
    tenant = parse_tenant_id(options.tenant)
    host, port = parse_address(options.at)
    if not re.fullmatch(r"[0-9]{1,6}", options.room) or not int(options.room):
        raise ConfigError("--room is a number of GiB, from 1")
    identity = _identity(options)
    pinned = _pinned(options)
    place = Place(Path(options.place).absolute(), tenant)
    try:
        make_folder(place.path)
    except OSError as error:
        raise ConfigError(f"{place.path} cannot be made: {error.strerror}; name a directory of the standby's") from None
    inbox = Inbox(place, int(options.room) * GIB)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{options.at} cannot be listened at: {error}") from None
    with listener:
        say(f"{tenant}: listens at {listener.getsockname()[0]}:{listener.getsockname()[1]} for {inbox.place.path}")
        wait_for(_serve(Receiver(inbox, CHANNELS, server_context(identity, pinned), pinned), listener))
    return ExitCode.OK


async def _serve(receiver: Receiver, listener: socket.socket) -> None:
    await receiver.serve(listener)


def way_to(options: argparse.Namespace, tenant: TenantId) -> Way:
    """The way to what `--to` names: a directory, or `tls://HOST:PORT`. Raises ConfigError."""
    if not options.to.startswith(SCHEME):
        if options.identity or options.peer:
            raise ConfigError("--identity and --peer belong to --to tls://HOST:PORT")
        return DirectoryWay(Place(Path(options.to).absolute(), tenant))
    host, port = parse_address(options.to.removeprefix(SCHEME))
    pinned = _pinned(options)
    return LinkWay(Address(host, port, client_context(_identity(options), pinned), pinned), tenant, CHANNELS)


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT. Raises ConfigError."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match[2]) < 1 << 16:
        raise ConfigError(f"{text!r} is no HOST:PORT; write an IPv6 address in brackets")
    return match[1].strip("[]"), int(match[2])


def _identity(options: argparse.Namespace) -> Path:
    """The own key's file. Raises ConfigError where others may read it."""
    if not options.identity:
        raise ConfigError("--identity names this side's key of the link; see `bulkhead standby link-key`")
    path = Path(options.identity).absolute()
    read_secret(path, PEM_MAX)
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path} is readable by others: chmod 0400")
    return path


def _pinned(options: argparse.Namespace) -> Pinned:
    if not options.peer:
        raise ConfigError("--peer names the other side's certificate; see `bulkhead standby link-key`")
    return Pinned.read(read_secret(Path(options.peer).absolute(), PEM_MAX).encode("ascii"))
