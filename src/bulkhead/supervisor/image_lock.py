"""The lock of an image: taken before it imports the first package that is not ours or Python's own.

Whatever such a package does when it is imported, it does behind this: in its own cell, with the files of the
compartments that this image forks, and nothing of another cell. Standard library only. Reasons: docs/sandbox.md.
"""

import contextlib
import json
import os
import resource
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bulkhead.boundary.processes import PROCESSES, Disk, Image, Reach, compartment_uid
from bulkhead.errors import ConfigError
from bulkhead.supervisor import landlock, seccomp
from bulkhead.supervisor.allowed_calls import UNKNOWN
from bulkhead.supervisor.image_calls import image_calls
from bulkhead.supervisor.layout import Layout
from bulkhead.supervisor.lock import Lock, LockReport, Mechanism, Outcome, Step
from bulkhead.supervisor.sandbox import enter_namespaces
from bulkhead.supervisor.syscalls import syscall

_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 4, 24, 38, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
# What locking a compartment takes: DAC_READ_SEARCH (sources and homes below a private directory), KILL, SETGID,
# SETUID, SETPCAP (empty bounding set), SYS_CHROOT, SYS_ADMIN (its namespaces).
KEPT_CAPABILITIES = (2, 5, 6, 7, 8, 18, 21)
_LIMITS = (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE, resource.RLIMIT_RTPRIO)
# Where the dynamic linker, and what is imported, look; only reading, and only what is there.
_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/etc/ld.so.conf",
    "/etc/ssl/openssl.cnf", "/etc/localtime", "/usr/share/zoneinfo", "/dev/urandom", "/sys/devices/system/cpu",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageTerms:
    """What an image is locked to; its supervisor says it.

    paths: where packages are imported from, in order.   homes: directories of its compartments, and whether they are
    written.   installation: holds all cells; no path may hold it.   uids: of its compartments, none as ordinary user.
    """

    image: str
    paths: tuple[str, ...]
    homes: tuple[tuple[str, bool], ...]
    installation: str
    uids: tuple[int, ...]

    @classmethod
    def of(cls, image: Image, layout: Layout, uid_base: int, slot: int) -> "ImageTerms":
        """Of one image of one cell, with the paths of this process. Raises ConfigError as `_check`."""
        processes = [process for process in PROCESSES.values() if process.image is image]
        terms = cls(
            image.value,
            tuple(path for path in sys.path if _is_there(Path(path))),
            tuple((str(layout.home(p.name)), p.disk is Disk.DATA) for p in processes if p.disk is not Disk.EMPTY),
            str(layout.directory),
            tuple(compartment_uid(uid_base, slot, p) for p in processes) if os.geteuid() == 0 else (),
        )
        _check(terms)
        return terms

    def encode(self) -> bytes:
        """For a sealed memory file."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, content: bytes) -> "ImageTerms":
        """What encode gave."""
        value = json.loads(content)
        homes = tuple((str(path), bool(writable)) for path, writable in value["homes"])
        return cls(value["image"], tuple(value["paths"]), homes, value["installation"], tuple(value["uids"]))


def _check(terms: ImageTerms) -> None:
    """Raises ConfigError where reading code would mean reading other cells."""
    installation = Path(terms.installation).resolve()
    for path in _code(terms):
        if installation.is_relative_to(path.resolve()):
            raise ConfigError(
                f"the installation {installation} lies below {path}, from which Python loads code, so that "
                "every cell could read it; move the installation"
            )


def _code(terms: ImageTerms) -> Iterator[Path]:
    """Directories and files that are only read: Python's own, packages, ours, shared libraries."""
    package = Path(__file__).parents[1]
    library = Path(sys.base_prefix) / "lib"  # libpython, and what it was built with
    for path in dict.fromkeys([*map(Path, terms.paths), package, library, *map(Path, _SYSTEM)]):
        if _is_there(path):
            yield path


def _is_there(path: Path) -> bool:
    """Whether it is an absolute path of something. What this user may not even see is not there."""
    try:
        return path.is_absolute() and path.exists()
    except PermissionError:
        return False


def lock_image(terms: ImageTerms) -> LockReport:
    """Lock this process, which has one thread, for good. What the host does not offer is MISSING in the report.

    Raises ConfigError where a wall that must stand cannot.
    """
    processes = [process for process in PROCESSES.values() if process.image.value == terms.image]
    dial = any(process.reach is Reach.DIALS for process in processes)
    for kind in _LIMITS:
        resource.setrlimit(kind, (0, 0))
    try:
        namespace = enter_namespaces(Lock("/", frozenset(), sockets=frozenset({"dial"} if dial else ())))
        close_to_own_user()
        capabilities = _keep_capabilities()
        syscall("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    except OSError as error:
        raise ConfigError(f"cannot lock the image {terms.image}: {error}") from error
    return LockReport((
        namespace, capabilities, _restrict_files(terms, dial=dial),
        _filter_calls(
            terms, dial=dial, accept=any(process.reach is Reach.ACCEPTED for process in processes),
            writable=any(process.disk is Disk.DATA for process in processes),
        ),
    ))  # fmt: skip


def close_to_own_user() -> None:
    """As an ordinary user: no other process of this user may look into this one, or set what `/proc` lets it set.

    All cells share that user, and an image may write below `/proc`. As root nothing is needed: no image may.
    """
    if os.geteuid() != 0:
        syscall("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)


def _keep_capabilities() -> Step:
    """As root: what locking compartments takes, and never another. An ordinary user has none on the host."""
    if os.geteuid() != 0:
        return Step(Mechanism.UID, Outcome.MISSING, f"started as an ordinary user: shares uid {os.geteuid()}")
    for capability in range(64):
        if capability not in KEPT_CAPABILITIES:
            try:
                syscall("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
            except OSError:
                break  # past the kernel's last one
    with contextlib.suppress(OSError):  # a kernel before 4.3 has none
        syscall("prctl", _PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    header, held = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytearray(24)
    kept = sum(1 << capability for capability in KEPT_CAPABILITIES) & _permitted()
    struct.pack_into("=6I", held, 0, kept, kept, 0, 0, 0, 0)
    syscall("capset", header, bytes(held))
    return Step(Mechanism.UID, Outcome.APPLIED, f"capabilities {kept:#x}")


def _permitted() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0


def _restrict_files(terms: ImageTerms, *, dial: bool) -> Step:
    abi = landlock.kernel_abi()
    if abi < 1:
        return Step(Mechanism.LANDLOCK, Outcome.MISSING, "the kernel has none, or it is switched off")
    ruleset = landlock.plan(abi, read=False, write=False, dial=dial)
    try:
        with contextlib.ExitStack() as stack:
            rules = []
            for path, rights in _rights(terms):
                descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
                rules.append((descriptor, rights))
            landlock.restrict(ruleset, rules)
    except OSError as error:
        return Step(Mechanism.LANDLOCK, Outcome.MISSING, f"ABI {abi} refused: {error.strerror}")
    if ruleset.lacking:
        return Step(Mechanism.LANDLOCK, Outcome.PARTIAL, f"ABI {abi}: " + "; ".join(ruleset.lacking))
    return Step(Mechanism.LANDLOCK, Outcome.APPLIED, f"ABI {abi}")


def _rights(terms: ImageTerms) -> Iterator[tuple[Path, int]]:
    """What may be opened, and how. Nothing may be executed, and nothing that cells share may be written."""
    for path in _code(terms):
        yield path, landlock.READ if path.is_dir() else landlock.FS_READ_FILE
    for home, writable in terms.homes:
        yield Path(home), landlock.READ | (landlock.WRITE if writable else 0)
    yield Path("/dev/null"), landlock.FS_READ_FILE | landlock.FS_WRITE_FILE
    # A compartment counts its threads and its memory there; an ordinary user's writes the maps of its user namespace.
    yield Path("/proc"), landlock.READ | (0 if os.geteuid() == 0 else landlock.FS_WRITE_FILE | landlock.FS_TRUNCATE)


def _filter_calls(terms: ImageTerms, *, dial: bool, accept: bool, writable: bool) -> Step:
    rules = image_calls(terms.uids, writable=writable, dial=dial, accept=accept, send_descriptors=dial)
    try:
        seccomp.apply(seccomp.compile_filter(rules, UNKNOWN))
    except NotImplementedError as error:
        return Step(Mechanism.SECCOMP, Outcome.MISSING, str(error))
    except OSError as error:
        return Step(Mechanism.SECCOMP, Outcome.MISSING, f"refused here: {error.strerror}")
    return Step(Mechanism.SECCOMP, Outcome.APPLIED, "")


def import_from(paths: Sequence[str]) -> None:
    """Put packages on the path, behind the lock. Lines of .pth files are not run: the paths came from who ran them."""
    sys.path += [path for path in paths if path not in sys.path]
