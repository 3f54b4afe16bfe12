"""`officer enrol`: a key pair for an officer or a root, made and kept on its owner's machine."""

import argparse
import getpass
import hashlib
import secrets
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.cli.output import say
from bulkhead.cli.secret_file import read_secret, write_secret
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.identifiers import TenantId
from bulkhead.records.officer import Role
from bulkhead.records.officer_file import FILE_MAX, OfficerPrivateKey, open_officer_key, seal_officer_key
from bulkhead.records.staff import COLLECTOR_LIFE_MAX_MS, Bearer, StaffStatement, sign_staff_statement

PASSPHRASE_MAX = 1024  # octets
DAY_MS = 86_400_000


def enrol(options: argparse.Namespace) -> int:
    """Write the private key, print the public line."""
    key = OfficerPrivateKey(options.name, options.role, Ed25519PrivateKey.generate())
    path = Path(options.key)
    if path.exists():
        raise ConfigError(f"{path} exists already; it is left as it is")
    text = seal_officer_key(key, read_passphrase(options.passphrase_file, twice=True))
    write_secret(path, text.encode("ascii"))
    say(f"{path}: the private key of {options.name}; keep it on this machine, and a copy where you keep valuables")
    print(key.public_line())
    return 0


def scrape_token(options: argparse.Namespace) -> int:
    """Write what a collector bears."""
    key = read_officer_key(options)
    if key.role != Role.PARTNER_COLLECTOR.value:
        raise ConfigError(f"{options.key} is the key of a {key.role}; a collector has one of its own: officer enrol")
    if not 1 <= options.days <= COLLECTOR_LIFE_MAX_MS // DAY_MS:
        raise ConfigError(f"--days is 1 to {COLLECTOR_LIFE_MAX_MS // DAY_MS}")
    secret, now = secrets.token_bytes(32), time.time_ns() // 1_000_000
    statement = StaffStatement(
        TenantId(options.tenant), options.console, key.name, Role.PARTNER_COLLECTOR, {},
        hashlib.sha256(secret).digest(), now, now + options.days * DAY_MS,
    ).encode()  # fmt: skip
    bearer = Bearer(secret, statement, sign_staff_statement(statement, key.name, key.private_key))
    write_secret(Path(options.out), f"{bearer}\n".encode("ascii"))
    say(f"{options.out}: good for {options.days} days, or until a roster is in force without {key.name}")
    return 0


def read_officer_key(options: argparse.Namespace) -> OfficerPrivateKey:
    """The key of --key. Raises ConfigError, IntegrityError."""
    text = read_secret(Path(options.key), FILE_MAX)
    try:
        return open_officer_key(text, read_passphrase(options.passphrase_file))
    except IntegrityError as error:
        raise IntegrityError(f"{options.key}: {error.public}") from None


def read_passphrase(file: str, *, twice: bool = False) -> bytes:
    """The first line of `file`, or asked for on a terminal; never an argument, never the environment."""
    if file:
        with Path(file).open("rb") as stream:
            return stream.readline(PASSPHRASE_MAX + 2).rstrip(b"\r\n")
    if not sys.stdin.isatty():
        raise ConfigError("no terminal to ask on: give the passphrase with --passphrase-file")
    typed = getpass.getpass("passphrase of the key: ")
    if twice and getpass.getpass("once more: ") != typed:
        raise ConfigError("the two differ; nothing was done")
    return typed.encode("utf-8", "surrogateescape")
