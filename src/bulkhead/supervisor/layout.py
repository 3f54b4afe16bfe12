"""Where an installation keeps what. Standard library only.

DIR/bulkhead.toml, tenants/<id>.toml     configuration
DIR/tls/<tenant>/<gate>.pem              key and chain of one gate, read by the supervisor alone
DIR/custody/<tenant>/<compartment>.root  32 bytes that open that compartment's key file; kept apart from backups
DIR/custody/<tenant>/<compartment>.next  the root key that takes its place, while that is under way
DIR/recovery/<tenant>/*.key              recovery keys; in production the partner's never lies on this host
DIR/cells/<tenant>/<compartment>/        the compartment's own directory, its root after the lock
DIR/receipts/<tenant>/<account>.json      oblivion receipts, which name no address
DIR/breached/passwords.list              breached passwords, for every auth; public, and read only
DIR/run/<tenant>.sock                    the command line's door to the cell supervisor
DIR/log/<tenant>.log                     the cell's log
"""

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from bulkhead.boundary.processes import Disk, Process, compartment_uid
from bulkhead.errors import ConfigError
from bulkhead.identifiers import TenantId

PEM_FILE = "gate.pem"
NEW_PEM_FILE = "gate.pem.new"
SOCKET_PATH_MAX = 100  # bytes; the kernel's sun_path has 108


def breached_file(directory: Path) -> Path:
    """The installation's list of breached passwords, which may be missing."""
    return directory / "breached" / "passwords.list"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one tenant in the installation at `directory`."""

    directory: Path
    tenant: TenantId

    @property
    def cell(self) -> Path:
        """The parent of the compartments' directories."""
        return self.directory / "cells" / self.tenant

    def home(self, compartment: str) -> Path:
        """A compartment's own directory."""
        return self.cell / compartment

    def pem(self, gate: str) -> Path:
        """A gate's private key and certificate chain."""
        return self.directory / "tls" / self.tenant / f"{gate}.pem"

    def root_key(self, compartment: str) -> Path:
        """The key that opens a holder's key file."""
        return self.directory / "custody" / self.tenant / f"{compartment}.root"

    def next_root_key(self, compartment: str) -> Path:
        """The root key that is to take the place of root_key, while that is under way."""
        return self.root_key(compartment).with_suffix(".next")

    def recovery_key(self, party: str) -> Path:
        """A recovery key: party is `partner` or `operator`."""
        return self.directory / "recovery" / self.tenant / f"{party}.key"

    @property
    def receipts(self) -> Path:
        """Oblivion receipts of cancelled accounts, without what shows whose they are."""
        return self.directory / "receipts" / self.tenant

    def shared(self, name: str) -> Path:
        """A file of the installation that a compartment may be handed open: a name of `reads` in PROCESSES."""
        return {"breached": breached_file(self.directory)}[name]

    @property
    def socket(self) -> Path:
        """The command line's door. Raises ConfigError when the path is too long for a socket."""
        path = self.directory / "run" / f"{self.tenant}.sock"
        if len(os.fsencode(path)) > SOCKET_PATH_MAX:
            raise ConfigError(f"{path} is longer than {SOCKET_PATH_MAX} bytes: use a shorter installation directory")
        return path

    @property
    def log(self) -> Path:
        """The cell's log file."""
        return self.directory / "log" / f"{self.tenant}.log"

    @property
    def following(self) -> Path:
        """There while mail of a backup is still to be brought into the cell, and how far that came."""
        return self.cell / "following"

    @property
    def restoring(self) -> Path:
        """There while a restore is under way: its cell does not start."""
        return self.cell / "restoring"

    @property
    def standby(self) -> Path:
        """There while this is a standby that follows another host's cell: it does not start."""
        return self.cell / "standby"

    @property
    def superseded(self) -> Path:
        """There once this cell's standby took over: it does not start again."""
        return self.cell / "superseded"

    @property
    def lock(self) -> Path:
        """Locked while the cell runs or a command works on it offline."""
        return self.directory / "run" / f"{self.tenant}.lock"


def prepare_home(layout: Layout, process: Process, uid_base: int, slot: int) -> Path:
    """Make a compartment's directory and give it to its uid when run as root. Returns it. Raises ConfigError.

    Only a holder owns its directory. Those of the others belong to root, so that a compromised gate can put nothing
    where the supervisor, as root, will write its key. The parents belong to root: no compartment can replace its own.
    """
    home = layout.home(process.name)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.parent.chmod(0o711)
    folder = _open_folder(home)
    try:
        if os.geteuid() == 0:
            uid = compartment_uid(uid_base, slot, process)
            if process.disk is Disk.DATA:
                _give(folder, uid)
                os.fchmod(folder, 0o700)
            else:
                os.fchown(folder, 0, uid if process.disk is Disk.PEM else 0)
                os.fchmod(folder, 0o710 if process.disk is Disk.PEM else 0o555)
    finally:
        os.close(folder)
    return home


def _open_folder(path: Path) -> int:
    """A descriptor of a directory that is no symbolic link. Raises ConfigError."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; it must be a plain directory") from None


def _give(folder: int, uid: int) -> None:
    """chown a directory and what lies below it to `uid` unless it is so already. Raises ConfigError.

    By descriptors all the way, and never through a link: whoever owned the tree before may have planted one, or a hard
    link to a file of another's, to have root give that away.
    """
    if os.fstat(folder).st_uid == uid:
        return
    for path, _, files, here in os.fwalk(".", topdown=False, follow_symlinks=False, dir_fd=folder):
        for name in files:
            found = os.stat(name, dir_fd=here, follow_symlinks=False)
            if found.st_nlink != 1 or not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"{path}/{name} is no plain file with one name: look where it comes from, remove it")
            os.chown(name, uid, uid, dir_fd=here, follow_symlinks=False)
        os.fchown(here, uid, uid)


def place_pem(layout: Layout, process: Process, uid_base: int, slot: int) -> None:
    """Put a gate's PEM where it alone can load it; take_pem removes it again. Raises ConfigError.

    It is whole before it has its name: another worker of the gate may be loading the one that lies there.
    """
    source = layout.pem(process.certificate)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{source}: {error.strerror}; put {process.name}'s private key and certificate chain there as one PEM file"
        ) from None
    home = layout.home(process.name)
    folder = _open_folder(home)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(NEW_PEM_FILE, dir_fd=folder)
        descriptor = os.open(
            NEW_PEM_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400, dir_fd=folder
        )
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            if os.geteuid() == 0:
                uid = compartment_uid(uid_base, slot, process)
                os.fchown(descriptor, uid, uid)
        finally:
            os.close(descriptor)
        os.rename(NEW_PEM_FILE, PEM_FILE, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        raise ConfigError(f"{home / PEM_FILE}: {error.strerror}; look what keeps it there, then start again") from None
    finally:
        os.close(folder)


def take_pem(layout: Layout, process: Process) -> None:
    """Remove a gate's PEM once it is loaded."""
    (layout.home(process.name) / PEM_FILE).unlink(missing_ok=True)
