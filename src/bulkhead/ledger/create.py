"""Keys of a new tenant's ledger, and its empty log. Used offline, when the tenant is made."""

import secrets
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.durable import sync_folder
from bulkhead.identifiers import TenantId
from bulkhead.ledger.event import EVENTS, Event, encode_event
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import create_log, open_log
from bulkhead.ledger.note import NoteSigner
from bulkhead.records.keyfile import KeySet

SIGNING, SUBJECT = "checkpoint", "subject"
LOG = Path("log")  # below the compartment's home


def create_keys() -> KeySet:
    """`checkpoint`: the Ed25519 key that signs checkpoints; `subject`: names accounts without their ids."""
    private = Ed25519PrivateKey.generate().private_bytes_raw()
    return KeySet().with_key(SIGNING, 1, private).with_key(SUBJECT, 1, secrets.token_bytes(32))


def public_key(keys: KeySet) -> bytes:
    """The 32 bytes under which checkpoints verify."""
    _, private = keys.current(SIGNING)
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def signer_of(keys: KeySet, origin: str) -> NoteSigner:
    """Signs checkpoints of that origin."""
    _, private = keys.current(SIGNING)
    return NoteSigner(origin, Ed25519PrivateKey.from_private_bytes(private))


def origin_of(tenant: TenantId, setting: str = "") -> str:
    """The first line of every checkpoint: the setting `ledger.origin`, or bulkhead/<id>."""
    return setting or f"bulkhead/{tenant}"


def begin_log(keys: KeySet, home: Path, tenant: TenantId, actor: str, *, origin: str = "") -> None:
    """Make the log below `home`, with the event of the tenant's own making; durable on return.

    Only here does a log begin: a ledger whose log is gone does not start a second history. Raises IntegrityError
    where there is a log already.
    """
    (home / LOG).mkdir(mode=0o700, exist_ok=True)
    sync_folder(home)
    name = origin_of(tenant, origin)
    files, signer = DirectoryFiles(str(home / LOG)), signer_of(keys, name)
    create_log(files, signer, name)
    log = open_log(files, signer, name)
    log.append([encode_event(Event(EVENTS["TenantCreated"], int(time.time() * 1000), actor))])
    log.close()
