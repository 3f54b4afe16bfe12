"""The escrow: the sealed keys of a restore elsewhere, `ESCROW/TENANT/<compartment>.keys`, apart from the backups.

They must be destroyed with a rotation, so they lie where files can be overwritten.
"""

import contextlib
import os
import secrets
from pathlib import Path

from bulkhead.cli.backup_target import NewFile, sync_folder
from bulkhead.cli.secret_file import make_private_folder
from bulkhead.config import Installation
from bulkhead.identifiers import TenantId


def escrow_folder(installation: Installation, tenant: TenantId, given: str = "") -> Path:
    """Where a tenant's sealed keys lie."""
    text = given or installation.settings.text("backup.escrow")
    return (Path(text) if text else installation.directory / "escrow").absolute() / tenant


def escrow_file(folder: Path, compartment: str) -> Path:
    """The sealed keys of one compartment."""
    return folder / f"{compartment}.keys"


def destroy_escrow(folder: Path, compartment: str) -> None:
    """Overwrite and unlink a compartment's sealed keys, where they are there. Raises OSError."""
    path = escrow_file(folder, compartment)
    with contextlib.suppress(FileNotFoundError):
        path.chmod(0o600)
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(descriptor, secrets.token_bytes(os.fstat(descriptor).st_size))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        path.unlink()
        sync_folder(folder)


def receipt_file(folder: Path, compartment: str) -> Path:
    """The ledger's receipt of them."""
    return folder / f"{compartment}.receipt"


def replace_escrow(folder: Path, compartment: str, content: bytes, receipt: bytes) -> None:
    """Put sealed keys and their receipt in the place of the older ones, which are overwritten first."""
    make_private_folder(folder)
    path, beside = escrow_file(folder, compartment), receipt_file(folder, compartment)
    fresh = [(path.with_suffix(".new"), content), (beside.with_suffix(".receipt.new"), receipt)]
    for name, octets in fresh:
        _write(name, octets)
    destroy_escrow(folder, compartment)
    for (name, _), place in zip(fresh, (path, beside), strict=True):
        name.rename(place)
    sync_folder(folder)


def _write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    file = NewFile(path)
    try:
        file.write(content)
        file.done()
    finally:
        file.close()
