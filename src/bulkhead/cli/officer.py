"""`officer enrol`: a key pair for an officer or a root, made and kept on its owner's machine."""

import argparse
import getpass
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.cli.output import say
from bulkhead.cli.secret_file import read_secret, write_secret
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.records.officer_file import FILE_MAX, OfficerPrivateKey, open_officer_key, seal_officer_key

PASSPHRASE_MAX = 1024  # octets


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
