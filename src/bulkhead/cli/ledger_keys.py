"""Keys about the log that a partner holds: its witness's, the log's public one, and the one that names accounts."""

import argparse
import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.cli.ledger import ledger_key
from bulkhead.cli.output import print_json, print_table, say
from bulkhead.cli.secret_file import read_secret, write_secret
from bulkhead.config import load_installation
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.holder.keys import KEY_FILE
from bulkhead.identifiers import AccountId, parse_id, parse_tenant_id
from bulkhead.ledger.create import SUBJECT
from bulkhead.ledger.event import subject_id
from bulkhead.ledger.note import NoteSigner, SignatureType, encode_signer, parse_signer
from bulkhead.records.keyfile import KeySet
from bulkhead.supervisor.custody import Custody
from bulkhead.supervisor.layout import Layout

TEXT_MAX = 1024
HEADER = "bulkhead-subject-key-1"
KEY_BYTES = 32


def witness_key(options: argparse.Namespace) -> int:
    """Make a witness's key."""
    name = options.name or f"witness/{parse_tenant_id(options.tenant)}"
    try:
        signer = NoteSigner(name, Ed25519PrivateKey.generate(), SignatureType.COSIGNATURE)
        text = encode_signer(signer)
    except IntegrityError as error:
        raise ConfigError(f"--name {name}: {error.public}") from None
    write_secret(Path(options.to), text.encode())
    print(signer.verifier)
    say(f"this is public: pinned.ledger_witness of {options.tenant}; the private key is {options.to}, and stays here")
    return 0


def read_witness_key(path: Path) -> NoteSigner:
    """The key of `witness_key`'s file. Raises ConfigError."""
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path} is open to others: chmod 0400 {path}; a new key if anybody may have read it")
    try:
        signer = parse_signer(read_secret(path, TEXT_MAX))
    except IntegrityError as error:
        raise ConfigError(f"{path}: {error.public}") from None
    if signer.type is not SignatureType.COSIGNATURE:
        raise ConfigError(f"{path} is a log's key; a witness needs its own")
    return signer


def log_key_text(options: argparse.Namespace) -> int:
    """Print the log's public key."""
    print(ledger_key(load_installation(Path(options.directory)).tenant(options.tenant)))
    return 0


def subject_key(options: argparse.Namespace) -> int:
    """Write the key by which the log names accounts."""
    installation = load_installation(Path(options.directory))
    tenant = installation.tenant(options.tenant)
    layout = Layout(installation.directory.absolute(), tenant.id)
    record = (layout.home("ledger") / KEY_FILE).read_bytes()
    for root in Custody(layout, tenant).read("ledger"):
        try:
            _, key = KeySet.open(record, tenant.id, "ledger", root).current(SUBJECT)
        except IntegrityError:
            continue
        write_secret(Path(options.to), f"{HEADER} {tenant.id} {base64.b64encode(key).decode()}\n".encode())
        say(f"{options.to} tells which account an entry is about: give it to the partner sealed, and remove it here")
        return 0
    raise IntegrityError(f"{tenant.id}: no root key in custody opens {layout.home('ledger') / KEY_FILE}")


def subject(options: argparse.Namespace) -> int:
    """Print accounts as the log names them."""
    key = _read_subject_key(Path(options.subject_key), options.tenant)
    rows = [(text, subject_id(key, AccountId(parse_id("acc", text))).hex()) for text in options.account]
    if options.json:
        print_json(options.command, {"subjects": [{"account": one, "subject": name} for one, name in rows]})
    else:
        print_table(("ACCOUNT", "SUBJECT"), rows)
    return 0


def _read_subject_key(path: Path, tenant: str) -> bytes:
    header, _, rest = read_secret(path, TEXT_MAX).strip().partition(" ")
    owner, _, encoded = rest.partition(" ")
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        key = b""
    if header != HEADER or len(key) != KEY_BYTES:
        raise ConfigError(f"{path} is no subject key: name the file that `ledger subject-key` wrote")
    if owner != tenant:
        raise ConfigError(f"{path} is the subject key of {owner}, not of {tenant}")
    return key
