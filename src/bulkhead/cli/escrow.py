"""The escrow: the sealed keys of a restore elsewhere, `ESCROW/TENANT/<compartment>.keys`, apart from the backups.

They must be destroyed with a rotation, so they lie where files can be overwritten; each with the ledger's receipt.
States of a replacement, each safe to be cut off in, and brought to its end by whoever writes there next:

    .keys  [.new being written] [.receipt.new]     the older ones; what is new goes
    .old .new  .receipt.new, or .receipt already   the new ones, which are whole
    .keys  [.old being overwritten]                the new ones

A destruction that is cut off leaves `.old`, in part overwritten, and no `.keys`: `missing_escrow` says so.
"""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from bulkhead.cli.backup_target import NewFile
from bulkhead.cli.secret_file import make_private_folder
from bulkhead.config import Installation
from bulkhead.durable import sync_folder
from bulkhead.identifiers import TenantId


def escrow_folder(installation: Installation, tenant: TenantId, given: str = "") -> Path:
    """Where a tenant's sealed keys lie."""
    text = given or installation.settings.text("backup.escrow")
    return (Path(text) if text else installation.directory / "escrow").absolute() / tenant


def escrow_file(folder: Path, compartment: str) -> Path:
    """The sealed keys of one compartment, as they lie there: also where a replacement was cut short."""
    path = folder / f"{compartment}.keys"
    return _new(path) if not path.exists() and _new(path).exists() else path


def receipt_file(folder: Path, compartment: str) -> Path:
    """The ledger's receipt of them."""
    path = folder / f"{compartment}.receipt"
    replaced = not (folder / f"{compartment}.keys").exists() and _new_receipt(path).exists()
    return _new_receipt(path) if replaced else path


def missing_escrow(folder: Path, compartments: Iterable[str]) -> tuple[str, ...]:
    """Which of these have no sealed keys there, though others have: their destruction or replacement was cut short."""
    found = [name for name in compartments if not escrow_file(folder, name).exists()]
    return tuple(found) if any(folder.glob("*.keys")) or any(folder.glob("*.old")) else ()


def destroy_escrow(folder: Path, compartment: str) -> None:
    """Overwrite and unlink a compartment's sealed keys, where they are there. Raises OSError."""
    path = folder / f"{compartment}.keys"
    _overwrite(_new(path))
    if path.exists():
        _overwrite(_old(path))
        os.rename(path, _old(path))  # noqa: PTH104  # steps that a test counts
        sync_folder(folder)
    _overwrite(_old(path))


def replace_escrow(folder: Path, compartment: str, content: bytes, receipt: bytes) -> None:
    """Put sealed keys and their receipt in the place of the older ones, which are overwritten."""
    make_private_folder(folder)
    path, beside = folder / f"{compartment}.keys", folder / f"{compartment}.receipt"
    _settle(path, beside)
    _write(_new_receipt(beside), receipt)
    _write(_new(path), content)
    if path.exists():
        os.rename(path, _old(path))  # noqa: PTH104  # as above
    _finish(path, beside)


def _settle(path: Path, beside: Path) -> None:
    """Bring to its end, or undo, what was cut short."""
    if not path.exists() and _new(path).exists():
        _finish(path, beside)
        return
    _overwrite(_new(path))
    _overwrite(_old(path))
    _new_receipt(beside).unlink(missing_ok=True)


def _finish(path: Path, beside: Path) -> None:
    sync_folder(path.parent)
    if _new_receipt(beside).exists():
        os.rename(_new_receipt(beside), beside)  # noqa: PTH104  # as above
    os.rename(_new(path), path)  # noqa: PTH104  # as above
    sync_folder(path.parent)
    _overwrite(_old(path))


def _new(path: Path) -> Path:
    return path.with_suffix(".new")


def _old(path: Path) -> Path:
    return path.with_suffix(".old")


def _new_receipt(path: Path) -> Path:
    return path.with_suffix(".receipt.new")


def _overwrite(path: Path) -> None:
    if not path.exists():
        return
    path.chmod(0o600)
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.write(descriptor, secrets.token_bytes(os.fstat(descriptor).st_size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()
    sync_folder(path.parent)


def _write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    file = NewFile(path)
    try:
        file.write(content)
        file.done()
    finally:
        file.close()
