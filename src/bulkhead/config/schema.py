"""SETTINGS: every setting as a row. Loading, narrowing, new files and the reference page all come from here.

A row says: dotted key (its last part carries the unit), kind, default (REQUIRED where there is none), limits, the
compartments that receive it (none: only the supervisor and the command line read it), and one sentence. Two files:
`bulkhead.toml` (Where.INSTALLATION) and `tenants/<id>.toml` (Where.TENANT). Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from bulkhead.config.values import Bounds, Kind, Value

SCHEMA = 1
INSTALLATION_FILE = "bulkhead.toml"
TENANTS_FOLDER = "tenants"
FILE_BYTES_MAX = 1 << 20
ZONE_BYTES_MAX = 1 << 20
TENANTS_MAX = 1000
SLOT_MAX = 10_000

COMPARTMENTS = (
    "mx", "submit", "access", "console", "courier", "resolver", "dialer",
    "directory", "auth", "keyring", "store", "queue", "ledger", "incident",
)  # fmt: skip


class Where(Enum):
    """The file that a setting stands in."""

    INSTALLATION = "bulkhead.toml"
    TENANT = "tenants/<id>.toml"


class Required(Enum):
    """The default of a setting that has none: its file must give it."""

    REQUIRED = "required"


REQUIRED = Required.REQUIRED


@dataclass(frozen=True, slots=True)
class Setting:
    """One row. `key` is dotted: section and name, or the name alone at the top of the file."""

    key: str
    kind: Kind
    default: Value | Required
    bounds: Bounds
    receivers: tuple[str, ...]
    sentence: str
    where: Where

    @property
    def section(self) -> str:
        """The [section] that it stands in; empty at the top of the file."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The key within its section."""
        return self.key.rpartition(".")[2]


_NONE = Bounds()


def _between(minimum: float, maximum: float) -> Bounds:
    return Bounds(minimum, maximum)


def _among(*choices: str) -> Bounds:
    return Bounds(choices=choices)


_Row = tuple[str, Kind, Value | Required, Bounds, tuple[str, ...], str]

_INSTALLATION: tuple[_Row, ...] = (
    ("schema", Kind.INTEGER, REQUIRED, _between(SCHEMA, SCHEMA), (),
     "The version of this file's form."),
    ("production", Kind.BOOLEAN, False, _NONE, (),
     "Whether subscribers depend on this installation: true refuses to run below sandbox level B, and below A with "
     "several tenants unless accept_level names the level."),
    ("allow_live_drill", Kind.BOOLEAN, False, _NONE, (),
     "Whether `bulkhead drill --live` may fork hostile twins in these cells although production is true."),
    ("operator", Kind.TEXT, "", _NONE, (),
     "The name of the carrier that runs this installation, as people know it."),
    ("uid_base", Kind.INTEGER, 200_000, _between(65_536, 2_000_000_000), (),
     "The first user id of the cells when run as root: a compartment runs as uid_base + 64 * slot of the tenant + its "
     "own slot; no account of the host may lie in that range."),
    ("accept_level", Kind.CHOICES, (), _among("B"), (),
     "Sandbox levels below A that are accepted in production with several tenants; below B nothing is."),
    ("retired_slots", Kind.INTEGERS, (), _between(0, SLOT_MAX), (),
     "Slots of tenants that were removed; no tenant may take one again, because files and backups carry its user ids."),
    ("backup.directory", Kind.TEXT, "", _NONE, (),
     "Where `bulkhead backup` writes: an absolute path of a directory, which may be one whose files can only be added "
     "to."),
    ("backup.chain_max", Kind.INTEGER, 24, _between(1, 64), (),
     "How many backups may be put on one another: the first carries its databases whole, each later one the blocks of "
     "them that changed since; 1: each is whole."),
    ("backup.bytes_per_second", Kind.INTEGER, 0, _between(0, 1 << 40), (),
     "At most so many octets a second are carried by `bulkhead backup run`, for each tenant, so that the disk is the "
     "cell's; 0: as many as go. The stream of auth is not slowed, as changes of credentials wait for it."),
    ("backup.bucket", Kind.TEXT, "", _NONE, (),
     "Where `bulkhead backup` writes instead: `s3://BUCKET/PREFIX`, an S3-compatible bucket with object lock; needs "
     "botocore (docs/dependencies.md)."),
    ("backup.bucket_endpoint", Kind.TEXT, "", _NONE, (),
     "The bucket's server, `https://HOST`; empty: Amazon's of the region."),
    ("backup.bucket_region", Kind.TEXT, "", _NONE, (),
     "The bucket's region; empty: us-east-1, which others than Amazon mostly take."),
    ("backup.bucket_key_file", Kind.TEXT, "", _NONE, (),
     "A file with the access key and, on a second line, the secret key, that nobody else may read (mode 0600): an "
     "absolute path."),
    ("backup.bucket_ca_file", Kind.TEXT, "", _NONE, (),
     "A file with the authorities that the bucket's server is verified against, readable by everybody: an absolute "
     "path; empty: the host's."),
    ("backup.lock_mode", Kind.CHOICE, "compliance", _among("compliance", "governance", "none"), (),
     "How objects in the bucket are locked: `compliance` lets nobody delete them before their date, `governance` those "
     "with a special right; `none` locks nothing."),
    ("backup.lock_days", Kind.INTEGER, 35, _between(1, 3660), (),
     "For how many days, from when a backup is made or the newest that relies on it; at least every tenant's "
     "backups.keep_days, else what should be kept can be deleted."),
    ("backup.escrow", Kind.TEXT, "", _NONE, (),
     "Where the sealed keys lie that a restore elsewhere needs: an absolute path of a directory in which files can be "
     "overwritten; empty for `escrow/` in the installation."),
    ("backup.test_restore_days", Kind.INTEGER, 31, _between(0, 3660), (),
     "How old the last test restore may be, in days, before `bulkhead doctor` finds it overdue; 0: it does not look."),
    ("log.level", Kind.CHOICE, "info", _among("debug", "info", "warning", "error"), COMPARTMENTS,
     "The least severe event that a compartment writes to its cell's log."),
    ("log.format", Kind.CHOICE, "text", _among("text", "json"), (),
     "How a cell's log is written: `text`, or `json`, one object a line (docs/metrics.md)."),
)  # fmt: skip

_EXECUTORS = ("directory", "auth", "keyring", "store", "queue")  # of officers' orders
_HOLDERS = ("directory", "auth", "keyring", "store", "queue", "ledger", "incident")

_IDENTITY: tuple[_Row, ...] = (
    ("schema", Kind.INTEGER, REQUIRED, _between(SCHEMA, SCHEMA), (),
     "The version of this file's form."),
    ("id", Kind.TENANT, REQUIRED, _NONE, COMPARTMENTS,
     "The tenant's id, for ever the same, and the name of this file without `.toml`; every record is bound to it."),
    ("slot", Kind.INTEGER, REQUIRED, _between(0, SLOT_MAX), (),
     "The tenant's number, from which its user ids are computed; never changed and never given to another tenant."),
    ("name", Kind.TEXT, "", _NONE, (),
     "The tenant's name as people know it."),
    ("disabled", Kind.BOOLEAN, False, _NONE, (),
     "Whether `bulkhead run` leaves this tenant's cell stopped."),
    ("names.mx", Kind.HOST, REQUIRED, _NONE, ("mx", "courier"),
     "The host name under which mx is reached and courier introduces itself; the only name in mx's certificate."),
    ("names.submit", Kind.HOST, REQUIRED, _NONE, ("submit",),
     "The host name that subscribers send through; the only name in submit's certificate."),
    ("names.access", Kind.HOST, REQUIRED, _NONE, ("access",),
     "The host name that subscribers read mail from; the only name in access's certificate."),
    ("names.web", Kind.HOST, "", _NONE, (),
     "The host name kept for webmail, which no compartment answers yet; no other setting may use it."),
    ("names.console", Kind.HOST, REQUIRED, _NONE, ("console", *_EXECUTORS),
     "The host name under which the partner's staff reaches the console; the only name in its certificate, and the "
     "audience that a statement which opens a staff session names."),
    ("pinned.binding_key", Kind.KEY, "", _NONE, ("mx", "submit", "access", "courier", "directory"),
     "The Ed25519 public key under which a mailbox's key must be signed before anything is sealed to it; written by "
     "`bulkhead tenant add`."),
    ("pinned.ledger_key", Kind.KEY, "", _NONE, (),
     "The Ed25519 public key under which this tenant's ledger signs checkpoints; written by `bulkhead tenant add`."),
    ("pinned.ledger_witness", Kind.TEXT, "", _NONE, ("ledger",),
     "The partner's witness, whose cosignatures alone the ledger carries: `name+keyid+base64`, as `bulkhead ledger "
     "TENANT witness-key` prints it; empty for none."),
    ("pinned.queue_key", Kind.KEY, "", _NONE, ("mx", "submit"),
     "The X25519 public key to which outbound messages are sealed; written by `bulkhead tenant add`."),
    ("pinned.forward_key", Kind.KEY, "", _NONE, ("queue",),
     "The Ed25519 public key under which directory must have signed a forward to another server before queue takes it; "
     "written by `bulkhead tenant add`, of an older tenant by `bulkhead upgrade`; empty: none is taken."),
    ("pinned.recovery_partner", Kind.KEY, "", _NONE, _HOLDERS,
     "The partner's X25519 public recovery key, to which every backup is sealed beside the operator's; written by "
     "`bulkhead tenant add`."),
    ("pinned.recovery_operator", Kind.KEY, "", _NONE, _HOLDERS,
     "The operator's X25519 public recovery key, to which every backup is sealed beside the partner's; written by "
     "`bulkhead tenant add`."),
    ("pinned.roster_roots", Kind.ROOTS, (), _NONE, _EXECUTORS,
     "The Ed25519 public keys that sign the roster of this tenant's officers, `partner:KEY` and `operator:KEY`, at "
     "least one of each: without them no order is taken. From `tenant add`; never changed while a roster is in force."),
    ("pinned.roster_threshold", Kind.INTEGER, 1, _between(1, 4), _EXECUTORS,
     "How many roots of each of the two must sign a roster."),
    ("pinned.standby_key", Kind.KEY, "", _NONE, _HOLDERS,
     "The standby's X25519 public key, to which what is shipped is sealed beside both recovery keys, so that the "
     "standby keeps it ready; empty: the standby keeps ciphertext. From `bulkhead standby key`."),
    ("pinned.standby_witness", Kind.KEY, "", _NONE, _HOLDERS,
     "The standby's Ed25519 public key, under which it grants leases; from `bulkhead standby key`."),
    ("standby.mode", Kind.CHOICE, "off", _among("off", "async", "sync"), _HOLDERS,
     "Whether this cell has a warm standby (docs/standby.md): `async` answers under its lease, `sync` also waits until "
     "the standby has what the answer speaks of. Takes effect with the next start of the cell."),
    ("standby.term", Kind.INTEGER, 0, _between(0, 1 << 31), _HOLDERS,
     "How often a standby of this tenant took over; written by `bulkhead standby promote`."),
    ("standby.lease_seconds", Kind.INTEGER, 15, _between(1, 300), (),
     "For how long the standby promises not to take over; renewed at a third of it."),
    ("standby.bytes_per_second", Kind.INTEGER, 0, _between(0, 1 << 40), (),
     "At most so many octets a second are shipped of a new base, so that a standby that catches up leaves the disk to "
     "the cell; 0: as many as go. With `sync` nothing is answered until the base is whole: leave it at 0 there."),
    ("custody.mode", Kind.CHOICE, "file", _among("file", "pkcs11"), (),
     "How root keys are kept that are made from now on: by `bulkhead credentials rotate` (docs/credentials.md)."),
    ("custody.module", Kind.TEXT, "", _NONE, (),
     "The PKCS#11 library of the token, an absolute path; mapped by a process that lives for one act."),
    ("custody.token", Kind.TEXT, "", _NONE, (), "The token's label."),
    ("custody.pin_file", Kind.TEXT, "", _NONE, (), "A file with the PIN of the token's user, an absolute path."),
    ("listen.address", Kind.ADDRESS, REQUIRED, _NONE, (),
     "The address that this tenant's listeners are bound to; no two tenants share one."),
    ("listen.mx", Kind.INTEGER, 25, _between(0, 65_535), (),
     "The port for SMTP from other servers; 0 closes it."),
    ("listen.submissions", Kind.INTEGER, 465, _between(0, 65_535), (),
     "The port for submission with TLS from the first byte (RFC 8314 section 3.3); 0 closes it."),
    ("listen.submission", Kind.INTEGER, 587, _between(0, 65_535), (),
     "The port for submission with STARTTLS (RFC 6409 section 3.1); 0 closes it."),
    ("listen.imaps", Kind.INTEGER, 993, _between(0, 65_535), (),
     "The port for IMAP with TLS from the first byte (RFC 8314 section 3.2); 0 closes it."),
    ("listen.pop3s", Kind.INTEGER, 995, _between(0, 65_535), (),
     "The port for POP3 with TLS from the first byte (RFC 8314 section 3.1); 0 closes it."),
    ("listen.console", Kind.INTEGER, 443, _between(0, 65_535), (),
     "The port for the partner's console, HTTPS; 0 closes it."),
    ("listen.imap", Kind.INTEGER, 0, _between(0, 65_535), (),
     "The port for IMAP that begins in clear, where STARTTLS must come before a login: 143 for clients that cannot do "
     "otherwise; 0, as RFC 8314 section 3 advises, closes it."),
    ("listen.pop3", Kind.INTEGER, 0, _between(0, 65_535), (),
     "The port for POP3 that begins in clear, where STLS must come before a login: 110 for clients that cannot do "
     "otherwise; 0, as RFC 8314 section 3 advises, closes it."),
)  # fmt: skip

_GATE_ROWS: tuple[_Row, ...] = (
    ("mx.workers", Kind.INTEGER, 0, _between(0, 64), ("mx",),
     "How many processes receive mail from other servers and accept at any time; 0 is one a processor, 8 at most."),
    ("mx.workers_max", Kind.INTEGER, 16, _between(1, 128), (),
     "The most processes of this gate, at least `workers`: one more is forked whenever too few accept because others "
     "are full, and let go after a minute without a connection. At the limit clients wait in the kernel's queue. As "
     "many as `workers` may be there besides while they make way for fresh ones."),
    ("mx.mode", Kind.CHOICE, "default", _among("default", "strict"), ("mx",),
     "`strict`: each connection has a process of its own."),
    ("mx.recycle_sessions", Kind.INTEGER, 100_000, _between(0, 1_000_000_000), ("mx",),
     "After so many connections a worker accepts no more and a fresh one takes its place; 0 is never."),
    ("mx.recycle_seconds", Kind.INTEGER, 86_400, _between(0, 31_536_000), (),
     "After this time a fresh worker takes a worker's place; 0 is never."),
    ("mx.drain_seconds", Kind.INTEGER, 300, _between(0, 604_800), (),
     "How long a worker that was replaced keeps its sessions before they are told to come again."),
    ("mx.connections_max", Kind.INTEGER, 1024, _between(1, 65_536), ("mx",),
     "Connections that one worker holds; a full worker stops accepting."),
    ("mx.connections_per_source_max", Kind.INTEGER, 50, _between(1, 65_536), ("mx",),
     "Connections that one worker holds from one IPv4 address or one IPv6 /64."),
    ("mx.message_bytes_max", Kind.INTEGER, 36_700_160, _between(65_536, 1 << 28), ("mx",),
     "The largest message accepted, announced by SIZE (RFC 1870 section 4); not below RFC 5321 section 4.5.3.1.7."),
    ("mx.recipients_max", Kind.INTEGER, 100, _between(100, 1000), ("mx",),
     "Recipients in one transaction; not below 100 (RFC 5321 section 4.5.3.1.8)."),
    ("mx.idle_seconds", Kind.INTEGER, 300, _between(1, 3600), ("mx",),
     "How long the other side may be silent (RFC 5321 section 4.5.3.2.7 asks for 300)."),
    ("mx.connections_per_source_minute", Kind.INTEGER, 6000, _between(0, 10_000_000), ("mx",),
     "Connections that one worker takes from one IPv4 address or one IPv6 /64 in a minute, then 421; 0: no limit."),
    ("mx.messages_per_source_minute", Kind.INTEGER, 60_000, _between(0, 10_000_000), ("mx",),
     "Messages that one worker takes from one such source in a minute, then 450; 0: no limit."),
    ("mx.recipients_per_source_minute", Kind.INTEGER, 120_000, _between(0, 10_000_000), ("mx",),
     "Recipients that one such source may name to one worker in a minute, then 450; 0: no limit."),
    ("mx.unknown_per_source_minute", Kind.INTEGER, 600, _between(0, 10_000_000), ("mx",),
     "Recipients that do not exist that one such source may name to one worker in a minute; then 450 for every "
     "recipient, so that addresses cannot be guessed by the thousand; 0: no limit."),
    ("mx.messages_per_connection_max", Kind.INTEGER, 10_000, _between(0, 10_000_000), ("mx",),
     "Transactions in one connection, announced as MAILMAX (RFC 9422 section 4), then 421; 0: no limit."),
    ("mx.errors_max", Kind.INTEGER, 10, _between(1, 1000), ("mx",),
     "Refused commands in one connection after which it is closed with 421."),
    ("submit.workers", Kind.INTEGER, 0, _between(0, 64), ("submit",),
     "How many processes receive mail from subscribers and accept at any time; 0 is one a processor, 8 at most."),
    ("submit.workers_max", Kind.INTEGER, 32, _between(1, 128), (),
     "The most processes of this gate, at least `workers`: one more is forked whenever too few accept because others "
     "are full, and let go after a minute without a connection. At the limit clients wait in the kernel's queue. As "
     "many as `workers` may be there besides while they make way for fresh ones."),
    ("submit.mode", Kind.CHOICE, "default", _among("default", "strict"), ("submit",),
     "`strict`: each connection has a process of its own."),
    ("submit.recycle_sessions", Kind.INTEGER, 10_000, _between(0, 1_000_000_000), ("submit",),
     "After so many connections a worker accepts no more and a fresh one takes its place; 0 is never."),
    ("submit.recycle_seconds", Kind.INTEGER, 86_400, _between(0, 31_536_000), (),
     "After this time a fresh worker takes a worker's place; 0 is never."),
    ("submit.drain_seconds", Kind.INTEGER, 300, _between(0, 604_800), (),
     "How long a worker that was replaced keeps its sessions before they are told to come again."),
    ("submit.connections_max", Kind.INTEGER, 512, _between(1, 65_536), ("submit",),
     "Connections that one worker holds; a full worker stops accepting."),
    ("submit.connections_per_source_max", Kind.INTEGER, 50, _between(1, 65_536), ("submit",),
     "Connections that one worker holds from one IPv4 address or one IPv6 /64."),
    ("submit.message_bytes_max", Kind.INTEGER, 36_700_160, _between(65_536, 1 << 28), ("submit",),
     "The largest message accepted, announced by SIZE (RFC 1870 section 4)."),
    ("submit.recipients_max", Kind.INTEGER, 100, _between(100, 1000), ("submit",),
     "Recipients in one transaction; not below 100 (RFC 5321 section 4.5.3.1.8)."),
    ("submit.idle_seconds", Kind.INTEGER, 300, _between(1, 3600), ("submit",),
     "How long a client may be silent once it has logged in."),
    ("submit.preauth_seconds", Kind.INTEGER, 60, _between(1, 600), ("submit",),
     "How long a connection may last without a login."),
    ("submit.connections_per_source_minute", Kind.INTEGER, 6000, _between(0, 10_000_000), ("submit",),
     "Connections that one worker takes from one IPv4 address or one IPv6 /64 in a minute, then 421; 0: no limit."),
    ("submit.messages_per_connection_max", Kind.INTEGER, 10_000, _between(0, 10_000_000), ("submit",),
     "Transactions in one connection, announced as MAILMAX (RFC 9422 section 4), then 421; 0: no limit."),
    ("submit.errors_max", Kind.INTEGER, 10, _between(1, 1000), ("submit",),
     "Refused commands in one connection after which it is closed with 421."),
    ("access.workers", Kind.INTEGER, 0, _between(0, 64), ("access",),
     "How many processes serve IMAP and POP3 and accept at any time; 0 is one a processor, 8 at most. The fewer "
     "sessions share one, the less a flaw in it can reach."),
    ("access.workers_max", Kind.INTEGER, 32, _between(1, 128), (),
     "The most processes of this gate, at least `workers`: one more is forked whenever too few accept because others "
     "are full, and let go after a minute without a connection. At the limit clients wait in the kernel's queue. As "
     "many as `workers` may be there besides while they make way for fresh ones."),
    ("access.mode", Kind.CHOICE, "default", _among("default", "strict"), ("access",),
     "`strict`: each session has a process of its own, so that a flaw in one reaches one mailbox; `workers_max` is "
     "then the number of sessions."),
    ("access.sessions_max", Kind.INTEGER, 512, _between(1, 65_536), ("access",),
     "Sessions in one worker at once, each of one mailbox; with so many it accepts no more."),
    ("access.recycle_sessions", Kind.INTEGER, 10_000, _between(0, 1_000_000_000), ("access",),
     "After so many logins a worker accepts no more and a fresh one takes its place; 0 is never."),
    ("access.recycle_seconds", Kind.INTEGER, 86_400, _between(0, 31_536_000), (),
     "After this time a fresh worker takes a worker's place; 0 is never."),
    ("access.drain_seconds", Kind.INTEGER, 3_600, _between(0, 604_800), (),
     "How long a worker that was replaced keeps its sessions before they are told to come again."),
    ("access.connections_max", Kind.INTEGER, 512, _between(1, 65_536), ("access",),
     "Connections that one worker holds; a full worker stops accepting."),
    ("access.connections_per_source_max", Kind.INTEGER, 100, _between(1, 65_536), ("access",),
     "Connections that one worker holds from one IPv4 address or one IPv6 /64."),
    ("access.idle_seconds", Kind.INTEGER, 1800, _between(1, 86_400), ("access",),
     "How long an IMAP client may be silent once it has logged in (RFC 9051 section 5.4 asks for 1800)."),
    ("access.pop3_idle_seconds", Kind.INTEGER, 600, _between(1, 86_400), ("access",),
     "How long a POP3 client may be silent once it has logged in (RFC 1939 section 3 asks for 600)."),
    ("access.preauth_seconds", Kind.INTEGER, 60, _between(1, 600), ("access",),
     "How long a connection may last without a login."),
    ("access.append_bytes_max", Kind.INTEGER, 36_700_160, _between(65_536, 1 << 28), ("access",),
     "The largest message that APPEND accepts."),
    ("access.errors_max", Kind.INTEGER, 10, _between(1, 1000), ("access",),
     "Refused commands in one connection after which it is closed."),
    ("console.workers", Kind.INTEGER, 1, _between(0, 64), ("console",),
     "How many processes serve the partner's staff and accept at any time; 0 is one a processor, 8 at most."),
    ("console.workers_max", Kind.INTEGER, 4, _between(1, 128), (),
     "The most processes of this gate, at least `workers`: one more is forked whenever too few accept because others "
     "are full, and let go after a minute without a connection. As many as `workers` may be there besides while they "
     "make way for fresh ones."),
    ("console.mode", Kind.CHOICE, "default", _among("default", "strict"), ("console",),
     "`strict`: each connection has a process of its own."),
    ("console.recycle_sessions", Kind.INTEGER, 10_000, _between(0, 1_000_000_000), ("console",),
     "After so many connections a worker accepts no more and a fresh one takes its place; 0 is never."),
    ("console.recycle_seconds", Kind.INTEGER, 86_400, _between(0, 31_536_000), (),
     "After this time a fresh worker takes a worker's place; 0 is never."),
    ("console.drain_seconds", Kind.INTEGER, 60, _between(0, 604_800), (),
     "How long a worker that was replaced keeps its connections."),
    ("console.connections_max", Kind.INTEGER, 128, _between(1, 65_536), ("console",),
     "Connections that one worker holds; a full worker stops accepting."),
    ("console.connections_per_source_max", Kind.INTEGER, 32, _between(1, 65_536), ("console",),
     "Connections that one worker holds from one IPv4 address or one IPv6 /64."),
    ("console.idle_seconds", Kind.INTEGER, 30, _between(1, 600), ("console",),
     "How long a client may be silent, between two requests too."),
    ("console.request_seconds", Kind.INTEGER, 60, _between(1, 600), ("console",),
     "How long one request may take to come."),
    ("console.requests_per_connection_max", Kind.INTEGER, 1000, _between(1, 1_000_000), ("console",),
     "Requests of one connection, which is then closed."),
)  # fmt: skip

_HOLDER_ROWS: tuple[_Row, ...] = (
    ("auth.failure_seconds", Kind.DECIMAL, 1.0, _between(0.1, 30.0), ("auth",),
     "The time after arrival at which every failed login is answered, above the slowest digest in use, so that the "
     "time tells nothing about the account."),
    ("auth.argon2_threads", Kind.INTEGER, 2, _between(1, 64), ("auth",),
     "Password hashes computed at once; each takes 19 MiB."),
    ("auth.argon2_queue_max", Kind.INTEGER, 256, _between(1, 65_536), ("auth",),
     "Logins of one gate that wait for a hash, and as many again from networks where their password was right before; "
     "past it they are told to try again later."),
    ("auth.failures_per_source_minute", Kind.INTEGER, 120, _between(1, 1_000_000), ("auth",),
     "Wrong passwords from one IPv4 address or one IPv6 /64 in a minute before the next are refused unread."),
    ("auth.failures_per_network_minute", Kind.INTEGER, 600, _between(1, 1_000_000), ("auth",),
     "Wrong passwords from one IPv4 /24 or IPv6 /56 in a minute; past it whoever is new there waits "
     "auth.delay_seconds_max."),
    ("auth.failures_per_gate_minute", Kind.INTEGER, 6000, _between(1, 10_000_000), ("auth",),
     "Wrong passwords through one gate in a minute; past it whoever is new there waits auth.delay_seconds_max."),
    ("auth.failing_accounts_per_minute", Kind.INTEGER, 1000, _between(1, 65_536), ("auth",),
     "Accounts for which wrong passwords come in a minute from networks that are new to them; past it whoever is new "
     "waits auth.delay_seconds_max, and the ledger gets the event Stuffing."),
    ("auth.failing_accounts_per_network_hour", Kind.INTEGER, 200, _between(0, 65_536), ("auth",),
     "Accounts for which wrong passwords come from one IPv4 /24 or IPv6 /56 by one gate within an hour before that "
     "gate takes nobody new from there (docs/containment.md, Rules); who came from there before is taken; 0: off."),
    ("auth.rule_minutes", Kind.INTEGER, 60, _between(0, 60), ("auth",),
     "For how many minutes that stop of a network holds, until it lapses by itself or officers confirm it; 0: the "
     "rule stops nothing."),
    ("auth.delay_seconds_max", Kind.INTEGER, 900, _between(1, 86_400), ("auth",),
     "How long, from the first attempt, somebody waits at most from a network that is new to the account, while "
     "strangers guess at it; networks where its password was right before never wait."),
    ("auth.delay_network_seconds_max", Kind.INTEGER, 3600, _between(1, 86_400), ("auth",),
     "How long such a network waits at most after its own wrong passwords for the account; the wait doubles with each "
     "from the 9th on."),
    ("auth.known_days", Kind.INTEGER, 90, _between(1, 3650), ("auth",),
     "How long a network is remembered, as a keyed hash, after the account's last login from it; at most 8 an "
     "account."),
    ("auth.cache_minutes", Kind.INTEGER, 60, _between(0, 60), ("auth", "keyring"),
     "How long after a login the same password is checked without a hash, for programs that poll; 0: never. The memory "
     "of auth and keyring, stolen together meanwhile, can be searched for that password faster than with Argon2id."),
    ("auth.main_password", Kind.CHOICES, ("imap", "pop", "submit", "jmap", "sieve", "web"),
     _among("imap", "pop", "submit", "jmap", "sieve", "web"), ("auth",),
     "The protocols that the main password logs in to; the others take app passwords alone, and answer the main one as "
     "a wrong one."),
    ("auth.breached", Kind.CHOICE, "mark", _among("mark", "refuse"), ("auth",),
     "What a login with a right password meets that is in the list of breached ones: `mark` admits it and counts the "
     "credential as breached in `credentials audit`; `refuse` answers as to a wrong one, until a new one is set."),
    ("keyring.session_seconds", Kind.INTEGER, 86_400, _between(60, 604_800), ("keyring",),
     "How long a session may open message keys before its client must log in again."),
    ("keyring.keys_per_worker_minute", Kind.INTEGER, 400_000, _between(0, 1_000_000_000), ("keyring",),
     "Message keys that one process of a gate may open in a minute, or ten times the mean of its compartment's busy "
     "minutes where that is more, up to ten times this; then its sessions end, and it gets none (docs/containment.md, "
     "Rules); 0: no limit."),
    ("keyring.rule_minutes", Kind.INTEGER, 60, _between(0, 60), ("keyring",),
     "For how many minutes that stop of a process holds, until it lapses by itself or officers confirm it; 0: the "
     "rule stops nothing."),
    ("keyring.failures_per_hour", Kind.INTEGER, 1200, _between(400, 1_000_000), ("auth", "keyring"),
     "Wrong passwords for one account in an hour before keyring answers none; its own count, kept across restarts, so "
     "that it also holds against a compromised auth. auth spends at most half on strangers and half on networks where "
     "the password was right before."),
    ("keyring.failing_accounts_per_hour", Kind.INTEGER, 200_000, _between(1, 10_000_000), ("keyring",),
     "Accounts with a wrong password in an hour before keyring answers for no other; against a compromised auth that "
     "tries one password on every account. At least 120 times auth.failing_accounts_per_minute."),
    ("directory.default_quota_bytes", Kind.INTEGER, 1 << 30, _between(1 << 20, 1 << 50), ("directory",),
     "The quota of an account that was given none, counted in RFC822.SIZE."),
    ("directory.unknown_per_worker_minute", Kind.INTEGER, 60_000, _between(0, 100_000_000), ("directory",),
     "Addresses that do not exist for which one worker of a gate may ask in a minute; past it that worker is told to "
     "ask again later, whatever it asks for, so that a compromised gate cannot guess them all; 0: no limit."),
    ("directory.postmaster", Kind.TEXT, "", _NONE, ("directory",),
     "The address that gets mail for postmaster of a hosted domain where that is no account of its own (RFC 5321 "
     "section 4.5.1); empty: the tenant's first account."),
    ("directory.forwards_elsewhere_max", Kind.INTEGER, 0, _between(0, 20), ("directory",),
     "To how many addresses at other servers one account may forward (docs/directory.md); 0: to none, and what was "
     "set before sends nothing on from the next reload."),
    ("accesses.keep_days", Kind.INTEGER, 180, _between(1, 3650),
     ("directory", "auth", "keyring", "store", "queue"),
     "How many days access records can be read; then the key of their day is destroyed."),
    ("store.segment_bytes", Kind.INTEGER, 1 << 26, _between(1 << 16, 1 << 32), ("store",),
     "The size at which a segment file is closed and the next one begun."),
    ("store.messages_max", Kind.INTEGER, 4_000_000, _between(1000, 16_000_000), ("store",),
     "Messages of one account, whatever their size; one in two mailboxes counts twice."),
    ("store.dead_percent_max", Kind.INTEGER, 50, _between(10, 99), ("store",),
     "From what share of dead bytes on a segment is compacted in quiet times."),
    ("store.dead_seconds_max", Kind.INTEGER, 30 * 86_400, _between(3600, 315_360_000), ("store",),
     "How long ciphertext whose key is gone may lie in a segment before that is compacted whatever its share."),
    ("store.compact_bytes_per_minute", Kind.INTEGER, 480 << 20, _between(1 << 20, 1 << 36), ("store",),
     "How much compaction copies while others write; in quiet times four times as much."),
    ("store.compact_period_seconds", Kind.INTEGER, 60, _between(1, 3600), ("store",),
     "How long the store waits between two looks for segments that are worth compacting."),
    ("store.undelete_days", Kind.INTEGER, 0, _between(0, 365), ("store",),
     "How many days messages and mailboxes that a subscriber deleted can come back; 0: they go at once."),
    ("store.undelete_bytes_max", Kind.INTEGER, 1 << 30, _between(1 << 20, 1 << 40), ("store",),
     "How much of that is kept for one account, beside its quota; what would be more goes at once."),
    ("incident.automatic", Kind.CHOICE, "off", _among("off", "stop-outbound", "stop-logins"), ("incident",),
     "What is stopped by itself where a canary is used with its right password, if the roster has the machine's key."),
    ("incident.automatic_minutes", Kind.INTEGER, 30, _between(1, 59), ("incident",),
     "For how long that stop holds, in minutes, until it lapses by itself."),
    ("ledger.late_seconds", Kind.INTEGER, 60, _between(0, 86_400), ("ledger",),
     "After how long an act that reaches the log is an alarm (EventsLate), once a minute and compartment; 0: never."),
    ("ledger.alive_seconds", Kind.INTEGER, 600, _between(0, 86_400), ("ledger",),
     "After how long without an entry the log writes that it lives (LedgerAlive), so that silence is seen; 0: never."),
    ("ledger.origin", Kind.TEXT, "", _NONE, ("ledger",),
     "The name of the log on the first line of its checkpoints; empty: bulkhead/<id>."),
)  # fmt: skip

_BACKUP_ROWS: tuple[_Row, ...] = (
    ("backups.every_hours", Kind.INTEGER, 24, _between(0, 8760), (),
     "How long after one backup the next is due, for `backup run --due`; twice that, and it is overdue; 0: never."),
    ("backups.keep_days", Kind.INTEGER, 30, _between(1, 3660), (),
     "How long `backup prune` keeps them."),
    ("backups.canaries", Kind.INTEGER, 2, _between(0, 16), (),
     "How many canaries each day's first backup has that no other copy has, so that whoever uses one says which backup "
     "leaked (docs/canaries.md)."),
    ("exports.canaries", Kind.INTEGER, 2, _between(0, 16), (),
     "How many canaries each export of a whole tenant has that no other copy has; an import of it does not open them."),
)  # fmt: skip

_OUTBOUND_ROWS: tuple[_Row, ...] = (
    ("queue.retry_first_seconds", Kind.INTEGER, 1800, _between(1, 86_400), ("queue",),
     "The wait after the first failed attempt, doubled after each further one (RFC 5321 section 4.5.4.1 asks for "
     "1800)."),
    ("queue.retry_max_seconds", Kind.INTEGER, 14_400, _between(1, 86_400), ("queue",),
     "The longest wait between two attempts."),
    ("queue.expire_seconds", Kind.INTEGER, 432_000, _between(1, 2_592_000), ("queue",),
     "How long delivery is tried before the sender gets a bounce (RFC 5321 section 4.5.4.1 asks for 4 to 5 days)."),
    ("queue.warn_seconds", Kind.INTEGER, 14_400, _between(1, 2_592_000), ("queue",),
     "How long delivery is tried before the sender is told that it is delayed."),
    ("queue.messages_max", Kind.INTEGER, 100_000, _between(1, 100_000_000), ("queue",),
     "Messages in the queue; past it submit answers 452."),
    ("queue.messages_per_account_hour", Kind.INTEGER, 1000, _between(0, 10_000_000), ("queue",),
     "Messages that one account may send out of this cell in an hour, then 450; 0: no limit."),
    ("queue.recipients_per_account_hour", Kind.INTEGER, 2000, _between(0, 10_000_000), ("queue",),
     "Recipients elsewhere to whom one account may send in an hour, then 450; 0: no limit."),
    ("queue.recipients_per_account_day", Kind.INTEGER, 10_000, _between(0, 10_000_000), ("queue",),
     "Recipients elsewhere to whom one account may send in a day, then 450; 0: no limit."),
    ("queue.burst_recipients_max", Kind.INTEGER, 1000, _between(0, 10_000_000), ("queue",),
     "Recipients elsewhere to whom one account may send within ten minutes; what it sends beyond waits in the queue "
     "(docs/containment.md, Rules); 0: no limit."),
    ("queue.rule_minutes", Kind.INTEGER, 60, _between(0, 60), ("queue",),
     "For how many minutes that stop of one account's mail holds, until it lapses by itself or officers confirm it; 0: "
     "the rule stops nothing."),
    ("queue.forwards_per_account_day", Kind.INTEGER, 2000, _between(0, 10_000_000), ("queue",),
     "Messages that the forwards of one account may send to other servers in a day; what is more stays in its mailbox; "
     "0: no limit."),
    ("queue.forwards_per_tenant_day", Kind.INTEGER, 20_000, _between(0, 100_000_000), ("queue",),
     "Messages that all forwards of the tenant may send to other servers in a day; what is more stays in mailboxes; 0: "
     "no limit."),
    ("courier.port", Kind.INTEGER, 25, _between(1, 65_535), ("courier", "dialer"),
     "The port of other servers' MX."),
    ("courier.allow_networks", Kind.NETWORKS, (), _NONE, ("dialer",),
     "Networks outside the global address space that may be dialled; every other address that is not global is "
     "refused, so that an MX of 127.0.0.1 goes nowhere."),
    ("courier.connect_seconds", Kind.INTEGER, 30, _between(1, 300), ("courier",),
     "How long a connection to another server may take to be made."),
    ("courier.reply_seconds", Kind.INTEGER, 300, _between(1, 3600), ("courier",),
     "How long another server may take over one reply (RFC 5321 section 4.5.3.2 asks for 300; the one after the "
     "final dot gets twice as long)."),
    ("courier.sessions_per_host_max", Kind.INTEGER, 5, _between(1, 1000), ("courier",),
     "Sessions at once with one other server; more messages for it wait, or follow on the same session."),
    ("courier.concurrency", Kind.INTEGER, 20, _between(1, 1000), ("courier",),
     "Deliveries at once."),
    ("resolver.zone_file", Kind.PATH, "", _NONE, ("resolver",),
     "A zone file whose records are answered before any name server is asked; the compartment gets its content."),
    ("resolver.nameservers", Kind.ADDRESSES, (), _NONE, ("resolver", "dialer"),
     "Name servers to ask, in this order; empty: only the zone file answers."),
    ("resolver.timeout_seconds", Kind.DECIMAL, 5.0, _between(0.1, 60.0), ("resolver",),
     "How long a name server may take before the next one is asked."),
    ("resolver.cache_entries_max", Kind.INTEGER, 10_000, _between(1, 10_000_000), ("resolver",),
     "Answers kept until their time to live ends."),
)  # fmt: skip


def _table(where: Where, rows: tuple[_Row, ...]) -> Mapping[str, Setting]:
    return {
        key: Setting(key, kind, default, bounds, receivers, sentence, where)
        for key, kind, default, bounds, receivers, sentence in rows
    }


INSTALLATION_SETTINGS = _table(Where.INSTALLATION, _INSTALLATION)
TENANT_SETTINGS = _table(Where.TENANT, _IDENTITY + _GATE_ROWS + _HOLDER_ROWS + _BACKUP_ROWS + _OUTBOUND_ROWS)

SETTINGS: tuple[Setting, ...] = (*INSTALLATION_SETTINGS.values(), *TENANT_SETTINGS.values())

SECTIONS: Mapping[str, str] = {
    "log": "What is written about running.",
    "names": "Host names; each belongs to one compartment's certificate and to no other.",
    "pinned": "Public keys that compartments trust from their start.",
    "accesses": "Records of logins, sessions, openings, deliveries and acts of staff.",
    "backup": "Where backups and the keys that open them lie.",
    "backups": "When backups are made and how long they are kept.",
    "exports": "What an export of the whole tenant has.",
    "standby": "A second host that can take over.",
    "custody": "Where the root keys of compartments are kept.",
    "listen": "Where the cell's listeners are bound.",
    "mx": "SMTP from other servers.",
    "submit": "SMTP from subscribers.",
    "access": "IMAP and POP3.",
    "console": "The partner's staff.",
    "auth": "The first half of the password check.",
    "keyring": "The second half of the password check, and mailbox keys.",
    "directory": "Domains, addresses and accounts.",
    "store": "Mailboxes and messages.",
    "ledger": "The tamper-evident log.",
    "queue": "Outbound mail that waits.",
    "incident": "What the cell stops by itself.",
    "courier": "Delivery to other servers.",
    "resolver": "DNS.",
}
