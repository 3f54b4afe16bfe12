"""PROCESSES: the one table of compartments. The supervisor starts what stands here, as it stands here.

`docs/architecture.md` is made from this table. Standard library only.
"""

from dataclasses import dataclass, field
from enum import Enum

SLOTS_PER_CELL = 64  # uid = uid_base + 64 * cell slot + compartment slot


class Image(Enum):
    """The two programs of a cell, executed afresh; compartments fork from them after preloading."""

    FRONT = "front"  # TLS, wire parsers, dnspython
    VAULT = "vault"  # msgspec, cryptography, libsodium, sqlite; no ssl, no DNS, no wire parser


class Reach(Enum):
    """What a compartment may reach outside its edges."""

    NOTHING = "none"
    ACCEPTED = "accepted connections"
    HANDED = "sockets that dialer connected"
    DIALS = "the only one with socket()"


class Disk(Enum):
    """What a compartment sees as its file system root."""

    EMPTY = "an empty directory"
    PEM = "a directory for its own key and chain, emptied once loaded"
    DATA = "its own data directory"


@dataclass(frozen=True, slots=True)
class Process:
    """One compartment: `slot` is its place in the uid range of a cell and is never reused."""

    name: str
    slot: int
    image: Image
    duty: str
    reach: Reach
    disk: Disk
    holds: str
    falls: str  # what falls if it is compromised
    listeners: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()  # files of the installation that it is handed open, read only, where they exist
    settings: tuple[str, ...] = ()  # sections of the configuration that it may see
    memory_bytes: int = 1 << 30
    open_files: int = 1024
    threads: int = 0  # beyond the first
    certificate: str = ""  # which of the tenant's names its certificate carries
    modules: tuple[str, ...] = field(default=())  # third-party packages mapped because of it


_FRONT = ("cryptography", "msgspec", "uvloop")
_VAULT = ("cryptography", "msgspec")

_TABLE = (
    Process(
        "mx", 1, Image.FRONT, "SMTP from other servers", Reach.ACCEPTED, Disk.PEM,
        holds="own TLS key; mail in transit",
        falls="mail in transit through that worker; can deliver forged mail into its own cell",
        listeners=("mx",), settings=("mx",), open_files=4096, certificate="mx", modules=_FRONT,
    ),
    Process(
        "submit", 2, Image.FRONT, "SMTP from subscribers", Reach.ACCEPTED, Disk.PEM,
        holds="own TLS key; mail in transit",
        falls="passwords typed there while it is compromised; mail in transit through that worker",
        listeners=("submissions", "submission"), settings=("submit",), open_files=4096, certificate="submit",
        modules=_FRONT,
    ),
    Process(
        "access", 3, Image.FRONT, "IMAP and POP3", Reach.ACCEPTED, Disk.PEM,
        holds="own TLS key; what live sessions opened",
        falls="passwords typed there while it is compromised; what the live sessions of that worker may open",
        listeners=("imaps", "pop3s", "imap", "pop3"), settings=("access",), open_files=4096, certificate="access",
        modules=_FRONT,
    ),
    Process(
        "console", 5, Image.FRONT, "REST API of the partner's staff", Reach.ACCEPTED, Disk.PEM,
        holds="own TLS key; tokens of staff sessions as they pass",
        falls="what staff sessions live in it may do, within their caps; the ledger's entries, counts of canaries",
        listeners=("console",), settings=("console",), certificate="console", memory_bytes=512 << 20,
        modules=(*_FRONT, "h11"),
    ),
    Process(
        "courier", 6, Image.FRONT, "SMTP client; writes DSNs", Reach.HANDED, Disk.EMPTY,
        holds="one message at a time", falls="outbound mail while it is compromised",
        settings=("courier",), modules=_FRONT,
    ),
    Process(
        "resolver", 7, Image.FRONT, "DNS for courier", Reach.HANDED, Disk.EMPTY,
        holds="nothing", falls="where outbound mail goes, while it is compromised",
        settings=("resolver",), modules=(*_FRONT, "dns"),
    ),
    Process(
        "dialer", 8, Image.VAULT, "connects, and hands over the connected socket; reads no byte", Reach.DIALS,
        Disk.EMPTY, holds="nothing", falls="connections to any public address",
        settings=("dialer",), modules=_VAULT,
    ),
    Process(
        "directory", 9, Image.VAULT, "domains, addresses, account status", Reach.NOTHING, Disk.DATA,
        holds="addresses; no verifier, no mail", falls="the tenant's addresses; mail misdirected inside the cell",
        settings=("directory",), threads=8, modules=_VAULT,
    ),
    Process(
        "auth", 10, Image.VAULT, "first half of the password check; limits", Reach.NOTHING, Disk.DATA,
        holds="salts; nothing to test a guess against", falls="passwords typed while it is compromised",
        settings=("auth", "keyring"), reads=("breached",), threads=8, modules=(*_VAULT, "nacl", "bcrypt"),
    ),
    Process(
        "keyring", 11, Image.VAULT,
        "second half of the password check; opens message keys for granted sessions; makes mailbox keys",
        Reach.NOTHING, Disk.DATA, holds="tight tags, wrapped mailbox keys; no address, no salt",
        falls="keys of sessions live while it is compromised; no ciphertext, no password at rest",
        settings=("auth", "keyring"), threads=8, modules=_VAULT,
    ),
    Process(
        "store", 13, Image.VAULT, "mailboxes, messages, flags, UIDs, quota", Reach.NOTHING, Disk.DATA,
        holds="ciphertext, flags, sizes, dates; no address, no key",
        falls="stored mail can be withheld, destroyed or rolled back; none can be read",
        settings=("store",), memory_bytes=4 << 30, threads=8, modules=_VAULT,
    ),
    Process(
        "queue", 14, Image.VAULT, "outbound envelopes, schedule", Reach.NOTHING, Disk.DATA,
        holds="envelopes and ciphertext", falls="outbound envelopes; outbound mail can be withheld",
        settings=("queue",), threads=8, modules=_VAULT,
    ),
    Process(
        "ledger", 15, Image.VAULT, "append-only tamper-evident log", Reach.NOTHING, Disk.DATA,
        holds="events, with ids not addresses", falls="new events can be withheld; history cannot be rewritten",
        settings=("ledger",), threads=8, modules=_VAULT,
    ),
    Process(
        "incident", 16, Image.VAULT, "knows canaries, and tells of their use", Reach.NOTHING, Disk.DATA,
        holds="HMACs of canaries' account ids; a key for stops of an hour; no address, no list of accounts",
        falls="which ids are canaries; ids of accounts with refused logins, or logins from new networks, meanwhile",
        settings=("incident",), threads=8, modules=_VAULT,
    ),
)  # fmt: skip

PROCESSES: dict[str, Process] = {process.name: process for process in _TABLE}

OPERATOR_CONSOLE = "cli"
"""The command line: no process of the cell. The supervisor hands it one end of a fresh edge and parses none of it."""

GATES: dict[str, int] = {**{process.name: process.slot for process in _TABLE}, OPERATOR_CONSOLE: 255}
"""Through whom something came, by the number that access records have of it."""


def compartment_uid(uid_base: int, cell_slot: int, process: Process) -> int:
    """The uid of a compartment: uid_base + 64 * cell slot + compartment slot; slots are never reused."""
    return uid_base + SLOTS_PER_CELL * cell_slot + process.slot
