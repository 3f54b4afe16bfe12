"""What a restore believes, and why: settings, keys and manifest are held against what the ledger noted.

A stream is sealed to public keys, so whoever may write where backups lie could put one of his own there, with a
manifest, settings and sealed keys that agree with it. The ledger's signature is what he does not have. Its public key
has to come from somewhere that he cannot write: the tenant's own settings here, a log that somebody else kept, or the
key itself as the partner noted it.
"""

import base64
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.boundary.processes import PROCESSES, Disk
from bulkhead.cli.backup_receipt import RECEIPT, RECEIPT_MAX, Noted, Witness
from bulkhead.cli.backup_store import SETTINGS, Manifest, Shelf, relied_on
from bulkhead.cli.escrow import escrow_file, receipt_file
from bulkhead.cli.output import say
from bulkhead.cli.restore_log import walk_log
from bulkhead.config import Installation, Tenant, parse_tenant
from bulkhead.config.schema import FILE_BYTES_MAX, TENANTS_FOLDER
from bulkhead.directory.create import TOMBSTONE
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.ledger.create import origin_of, signer_of
from bulkhead.ledger.note import parse_verifier_key
from bulkhead.records.backup import PrivateKeys
from bulkhead.records.forward import public_key as forward_public
from bulkhead.records.keyfile import KeySet

HOLDERS = tuple(name for name, process in PROCESSES.items() if process.disk is Disk.DATA)


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the trust in the ledger's key comes from. own: the settings were here before the backup was looked at.

    log: a directory with a log or an export of it. log_key: `pinned.ledger_key`, as somebody kept it elsewhere.
    nothing: the operator wants the backup even if nothing shows whose it is.
    """

    own: bool = False
    log: Path | None = None
    log_key: str = ""
    nothing: bool = False


def settings_in(shelf: Shelf, manifest: Manifest) -> tuple[Tenant, str]:
    """The settings that the backup carries, and their text. Raises IntegrityError where they are not the manifest's."""
    path, content = shelf.place(manifest.backup, SETTINGS), shelf.read(manifest.backup, SETTINGS, FILE_BYTES_MAX)
    if sha256(content).hexdigest() != manifest.settings:
        raise IntegrityError(f"{path} is not what the manifest says")
    text = content.decode("utf-8", "replace")
    try:
        return parse_tenant(f"{TENANTS_FOLDER}/{shelf.tenant}.toml", text), text
    except ConfigError as error:
        raise IntegrityError(f"{path}: {error.public}") from None


def settings_of(installation: Installation, shelf: Shelf, manifest: Manifest) -> tuple[Tenant, str]:
    """The tenant's settings that are here, else the backup's; and the text that has to be written here first, or none.

    Raises IntegrityError where the backup's are not those of its manifest.
    """
    carried, text = settings_in(shelf, manifest)
    own = installation.tenants.get(shelf.tenant)
    return (carried, text) if own is None else (own, "")


def check_pinned(tenant: Tenant, sets: Mapping[str, KeySet], keys: PrivateKeys) -> None:
    """Raises IntegrityError where the settings trust other keys than the escrow and both parties have."""
    binding = Ed25519PrivateKey.from_private_bytes(sets["keyring"].current("binding")[1]).public_key()
    queue = X25519PrivateKey.from_private_bytes(sets["keyring"].current("queue")[1]).public_key()
    ledger = Ed25519PrivateKey.from_private_bytes(sets["ledger"].current("checkpoint")[1]).public_key()
    pinned = {
        "binding_key": binding.public_bytes_raw(), "queue_key": queue.public_bytes_raw(),
        "ledger_key": ledger.public_bytes_raw(), "recovery_partner": keys.partner.public_key().public_bytes_raw(),
        "recovery_operator": keys.operator.public_key().public_bytes_raw(),
    }  # fmt: skip
    if tenant.settings.text("pinned.forward_key"):  # one that is older has none until `bulkhead upgrade`
        pinned["forward_key"] = forward_public(sets["directory"].current(TOMBSTONE)[1], tenant.id)
    for name, key in pinned.items():
        if base64.b64decode(tenant.settings.text(f"pinned.{name}")) != key:
            raise IntegrityError(
                f"{tenant.file}: pinned.{name} is not the key of this backup; look who changed it, or take "
                "the tenant's own file"
            )


def witness_of(tenant: Tenant, sets: Mapping[str, KeySet], escrow: Path, anchor: Anchor) -> Witness | None:
    """Who says what is the cell's own; None where the operator takes what nobody says it of.

    sets: the keys in the escrow, which agree with the settings. Raises ConfigError where nothing at hand could show
    it, IntegrityError where what is at hand shows another cell.
    """
    if anchor.nothing:
        say(
            f"{tenant.id}: --without-ledger: NOTHING shows that this backup is the cell's own. Whoever could write "
            "where it lies, and knows the public recovery keys, could have made it"
        )
        return None
    origin = origin_of(tenant.id, tenant.settings.text("ledger.origin"))
    signer = signer_of(sets["ledger"], origin)
    if anchor.log_key:
        _compare(anchor.log_key, signer.verifier.public, tenant)
    elif not anchor.own and anchor.log is None:
        raise ConfigError(
            "nothing here shows that this backup is the cell's own: give --ledger, a copy of its log, or --log-key, "
            "the ledger's public key as you keep it; --without-ledger goes on all the same"
        )
    noted: Noted | None = None
    if anchor.log is not None:
        noted = Noted()
        try:
            walk_log(anchor.log, signer, origin, noted.visit)
        except IntegrityError as error:
            raise IntegrityError(
                f"{anchor.log}: {error.public}; it was changed, or the key in {escrow} is not that of this ledger"
            ) from None
    return Witness(signer.verifier, noted)


def prove(witness: Witness | None, shelf: Shelf, manifest: Manifest, escrow: Path) -> str:
    """What shows that manifest and sealed keys are the cell's own: `log`, `receipt`, or `nothing`.

    Raises IntegrityError that names what is not.
    """
    if witness is None:
        return "nothing"
    by = require_noted(witness, shelf, manifest)
    for compartment, digest in escrow_digests(escrow).items():
        path, receipt = escrow_file(escrow, compartment), receipt_file(escrow, compartment)
        try:
            witness.require_escrow(compartment, digest, receipt.read_bytes() if receipt.exists() else None)
        except IntegrityError as error:
            raise IntegrityError(f"{path}, {receipt.name}: {error.public}") from None
    return by


def require_noted(witness: Witness | None, shelf: Shelf, manifest: Manifest) -> str:
    """The same of a backup and of all that it relies on."""
    if witness is None:
        return "nothing"
    by = {_require(witness, shelf, manifest)}  # before anything that it names is looked for
    by |= {_require(witness, shelf, shelf.manifest(backup)) for backup in sorted(relied_on(shelf, manifest))}
    return "receipt" if "receipt" in by else "log"


def digest_of(manifest: Manifest) -> str:
    """SHA-256 of a manifest, as the ledger notes it."""
    return sha256(manifest.encode()).hexdigest()


def escrow_digests(escrow: Path) -> dict[str, str]:
    """SHA-256 of each file of sealed keys, by compartment."""
    return {name: sha256(escrow_file(escrow, name).read_bytes()).hexdigest() for name in HOLDERS}


def _require(witness: Witness, shelf: Shelf, manifest: Manifest) -> str:
    digest, receipt = digest_of(manifest), None
    try:
        with contextlib.suppress(IntegrityError):
            receipt = shelf.read(manifest.backup, RECEIPT, RECEIPT_MAX)
        return witness.require_backup(manifest.backup, digest, receipt)
    except IntegrityError as error:
        raise IntegrityError(f"{shelf.place(manifest.backup, RECEIPT)}: {error.public}") from None


def _compare(given: str, public_key: bytes, tenant: Tenant) -> None:
    try:
        key = parse_verifier_key(given).public
    except IntegrityError:
        key = _decoded(given)
    if not key:
        raise ConfigError(
            "--log-key is `name+keyid+base64`, as `ledger export` prints it, or pinned.ledger_key of the tenant"
        )
    if key != public_key:
        raise IntegrityError(
            f"--log-key is not the ledger's key that backup and sealed keys of {tenant.id} have: they are of another "
            "cell, or somebody put his own there"
        )


def _decoded(text: str) -> bytes:
    """The octets of Base64; none where it is not that."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
