"""The rows of the tree for backups. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import LIVE, ORDER, ROSTER, TENANT, Argument, Command, flag, option, positional

_FROM = option("--from", "PLACE", "Where backups lie: a directory or s3://BUCKET/PREFIX (default: by the settings).",
               dest="source", default="")  # fmt: skip
_METRICS = option("--metrics", "FILE", "Write how backups stand, for the textfile collector of node_exporter.",
                  default="")  # fmt: skip
_MAYBE_TENANT = positional("tenant", "The tenant's id; or --all.", nargs="?")
_ALL = Argument(("--all",), "Every tenant that is not disabled.", {"action": "store_true"})
_BACKUP = {
    "backup": "its id",
    "created": "when it was begun, ms since 1970",
    "octets": "of its streams",
    "segments": "segments of mail that it relies on, in its own stream or in an earlier backup's",
    "needs": "version keys that its records are under: compartment/key/version, a list",
    "changed_since": "the backup that it has changed blocks against; empty where its databases are whole",
}

BACKUP_COMMANDS = (
    Command(
        ("backup", "run"), "Back up a running cell: each holder's own stream, sealed to both recovery keys.",
        "bulkhead.cli.backup:run",
        (
            _MAYBE_TENANT, _ALL,
            option("--to", "PLACE", "Where to: a directory or s3://BUCKET/PREFIX (default: by the settings).",
                   default=""),
            flag("--due", "Only those whose backups.every_hours have passed, nearly; for a timer."),
            _METRICS,
        ),
        exits=(*LIVE, ExitCode.INTEGRITY),
        json_keys={
            "backups": "one object a tenant",
            "backups[].tenant": "the tenant's id",
            **{f"backups[].{key}": text for key, text in _BACKUP.items()},
            "backups[].entry": "index of the ledger's entry",
            "backups[].seconds": "how long it took",
            "failed": "how many tenants had none, though it was tried; with one tenant the command fails instead",
        },
        text="Mail goes on meanwhile. Segments that the newest whole backup there carries are not carried again. What "
        "is cut short leaves a folder without manifest, which is no backup. docs/backup.md has a timer for it.",
    ),
    Command(
        ("backup", "list"), "List the backups of a tenant, the oldest first.", "bulkhead.cli.backup:list_backups",
        (TENANT, _FROM),
        json_keys={
            "tenant": "the tenant's id",
            "backups": "one object a backup",
            "backups[].whole": "whether it has its manifest; the other keys are there only then",
            **{f"backups[].{key}": text for key, text in _BACKUP.items()},
        },
    ),
    Command(
        ("backup", "verify"), "Read a backup and compare every hash; with both recovery keys, restore it for trial.",
        "bulkhead.cli.backup_verify:verify",
        (
            TENANT,
            positional("backup", "Its id (default: the newest whole one).", nargs="?", default=""),
            _FROM,
            flag("--offline", "Do not tell the ledger."),
            flag("--restore", "Restore it into a scratch cell, open every record, destroy it; takes both keys."),
            option("--partner-key", "FILE", "The partner's recovery key.", default=""),
            option("--operator-key", "FILE", "The operator's recovery key.", default=""),
            option("--keys", "DIR", "Where the sealed keys lie (default: backup.escrow, or escrow/).", default=""),
            option("--ledger", "DIR", "A copy of the cell's log, or an export of it.", default=""),
            option("--log-key", "KEY", "The ledger's public key as you keep it, where the tenant is not here.",
                   default=""),
            option("--scratch", "DIR", "Where the scratch cell is made (default: scratch/).", default=""),
            option("--report", "FILE", "Write the result there, for `backup record` where the cell runs.", default=""),
        ),
        exits=(*LIVE, ExitCode.INTEGRITY),
        json_keys={
            "tenant": "the tenant's id",
            "backup": "the backup's id",
            "octets": "read",
            "problems": "what was found, in words, a list",
            "sound": "whether nothing was found",
            "accounts": "in the scratch cell, with --restore",
            "messages": "in the scratch cell, with --restore",
            "content": "a hash of all messages there, which another restore of them gives too, with --restore",
        },
        text="Without --restore it needs no key. With it, both recovery keys are read: run that at the partner's or on "
        "a host kept for it, with --offline --report FILE, and not where the cell runs.",
    ),
    Command(
        ("backup", "record"), "Enter what a test restore on another host found into the ledger.",
        "bulkhead.cli.backup_verify:record",
        (TENANT, positional("file", "What `backup verify --restore --report` wrote.")),
        exits=(*LIVE, ExitCode.INTEGRITY),
        json_keys={
            "tenant": "the tenant's id",
            "backup": "the backup's id",
            "sound": "whether nothing was found",
            "entry": "index of the ledger's entry",
        },
        text="The result is believed as it stands: it is a statement of whoever has the file written here.",
    ),
    Command(
        ("backup", "prune"), "Take away old backups that no kept one relies on, and what was cut short.",
        "bulkhead.cli.backup_prune:prune",
        (
            _MAYBE_TENANT, _ALL,
            option("--keep-days", "N", "Keep those of so many days (default: backups.keep_days).", type=int),
            _FROM,
        ),
        exits=(ExitCode.INTEGRITY, ExitCode.NOT_RUNNING, ExitCode.REFUSED),
        json_keys={
            "tenants": "one object a tenant",
            "tenants[].tenant": "the tenant's id",
            "tenants[].removed": "ids of those that are gone, a list",
            "tenants[].cut": "ids of those that were cut short two days ago or more and are gone, a list",
            "tenants[].refused": "ids of those that the storage does not let go, a list",
            "tenants[].swept": "uploads to a bucket that never became objects",
        },
        text="The newest whole one always stays, and the newest that was verified. Storage that forbids removal is "
        "obeyed. Nothing goes where a kept one is not whole with all that it relies on.",
    ),
    Command(
        ("backup", "status"), "Say how old the newest and the newest verified backup are, and what is overdue.",
        "bulkhead.cli.backup_schedule:status",
        (_MAYBE_TENANT, _ALL, _METRICS),
        exits=(ExitCode.FINDING,),
        json_keys={
            "tenants": "one object a tenant",
            "tenants[].tenant": "the tenant's id",
            "tenants[].every_hours": "time between two backups; 0: none are scheduled, or nothing says where to",
            "tenants[].keep_days": "how long they are kept",
            "tenants[].overdue": "whether the newest is older than two periods",
            "tenants[].backup": "the newest whole one that this host made, or null",
            "tenants[].made": "when it was begun, ms since 1970",
            "tenants[].octets": "what it carried",
            "tenants[].seconds": "how long it took",
            "tenants[].verified": "the newest that was found sound, or null",
            "tenants[].verified_made": "when that was begun, ms since 1970",
            "tenants[].unsound": "the one that was verified last, where something was found, or null",
            "tenants[].failed": "when one failed after the newest, ms since 1970; 0: none did",
            "tenants[].failure": "why, or null",
        },
        text="Of what this host has noted; asks neither the cell nor the place where backups lie. 1 where one is "
        "overdue, failed last, or was found not sound.",
    ),
    Command(
        ("restore",), "Make a whole cell from a backup, offline, with both recovery keys.",
        "bulkhead.cli.restore:restore",
        (
            TENANT,
            _FROM,
            option("--partner-key", "FILE", "The partner's recovery key.", required=True),
            option("--operator-key", "FILE", "The operator's recovery key.", required=True),
            option("--at", "TIME|BACKUP", "The newest backup begun by then (ISO 8601, UTC unless it says), or that one "
                   "(default: the newest whole one).", default=""),
            option("--keys", "DIR", "Where the sealed keys lie (default: backup.escrow, or escrow/).", default=""),
            option("--ledger", "DIR", "A newer log, or an export of it: the lost cell's ledger/log, or the partner's.",
                   default=""),
            option("--log-key", "KEY", "The ledger's public key as you keep it: pinned.ledger_key of the tenant.",
                   default=""),
            flag("--without-ledger", "Take a backup that nothing shows to be the cell's own."),
            option("--address", "IP", "The address of its listeners here (default: the one it had).", default=""),
            ORDER, ROSTER,
            flag("--history-intact", "Nothing came or changed since the backup: keep UIDVALIDITY."),
            flag("--continuity", "Empty mailboxes, so that the cell serves at once; restore-follow brings their mail."),
        ),
        exits=(ExitCode.REFUSED, ExitCode.INTEGRITY),
        json_keys={
            "tenant": "the tenant's id",
            "backup": "the backup's id",
            "entries": "ledger entries since the backup was begun, whose acts were done again",
            "continued": "of them, those that the newer log brought",
            "accounts": "accounts in the backup",
            "statuses": "accounts that were given the status they came to since",
            "narrowed": "services, forwards, aliases and group memberships that were closed since, and are again",
            "must_reset": "accounts whose main password was changed since, or whose halves did not agree: both halves "
            "are destroyed, and recovery sets a new one",
            "app_passwords": "app passwords revoked for the same reasons",
            "halves_apart": "credentials whose halves did not agree",
            "lost": "accounts made since, which are not in the backup",
            "messages": "messages, every part of which was read and compared with its checksum",
            "queued": "messages that wait to be sent",
            "continuity": "whether mailboxes are empty, and their mail is to follow",
            "seconds": "how long it took",
        },
        text="The cell's and the custody's directory of the tenant must be empty or missing. What is cut short does "
        "not start, and the same command begins it anew. What was revoked, changed or cancelled after the backup stays "
        "so, as the newest backup there and --ledger know of it: give the newest log that anybody has. docs/backup.md "
        "has the steps.",
    ),
)  # fmt: skip
