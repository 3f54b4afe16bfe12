"""The rows of the tree for mail that is restored into a running cell. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import ADDRESS, LIVE, TENANT, Command, flag, option

SOURCE = option("--from", "DIR", "Where backups lie (default: backup.directory).", dest="source", default="")
KEYS = (
    option("--partner-key", "FILE", "The partner's recovery key.", required=True),
    option("--operator-key", "FILE", "The operator's recovery key.", required=True),
)

RESTORE_COMMANDS = (
    Command(
        ("restore-mailbox",), "Bring what is gone from a mailbox back from a backup, into the running cell.",
        "bulkhead.cli.restore_mailbox:restore_mailbox",
        (
            TENANT, ADDRESS, SOURCE, *KEYS,
            option("--at", "TIME|BACKUP", "The newest backup begun by then (ISO 8601, UTC unless it says), or that one "
                   "(default: the newest whole one).", default=""),
            option("--folder", "ID|ROLE", "Only this folder: its id as --list says it, or INBOX, drafts, sent, junk, "
                   "trash, archive.", default=""),
            flag("--list", "Only say what is gone."),
        ),
        exits=(*LIVE, ExitCode.INTEGRITY),
        json_keys={
            "tenant": "the tenant's id",
            "address": "the address",
            "backup": "the backup's id",
            "folders": "one object a folder of the backup",
            "folders[].folder": "its id",
            "folders[].role": "`INBOX`, `drafts`, `sent`, `junk`, `trash`, `archive`, or null",
            "folders[].messages": "messages in the backup",
            "folders[].gone": "of them, those that are in no folder of the account now",
            "folders[].octets": "their octets",
            "restored": "messages that came back",
            "over_quota": "messages that did not fit",
            "closed": "messages sealed to a mailbox key that was destroyed since: nothing opens them",
        },
        text="By EmailId: what the account has, in whatever folder, stays as it is, so the same command may run again. "
        "What comes back has new UIDs, and its flags, date and unique-id of before. Names and mail stay sealed; the "
        "ledger has MailRestored first. docs/backup.md.",
    ),
    Command(
        ("restore-follow",), "Bring the mail of a backup into a cell that was restored with --continuity.",
        "bulkhead.cli.restore_follow:restore_follow",
        (TENANT, SOURCE, *KEYS),
        exits=(*LIVE, ExitCode.INTEGRITY),
        json_keys={
            "tenant": "the tenant's id",
            "backup": "the backup's id",
            "messages": "messages in the backup",
            "restored": "of them, those that came, in all runs",
            "over_quota": "messages that did not fit",
            "closed": "messages sealed to a mailbox key that was destroyed since",
            "gone": "messages of accounts that were destroyed since",
            "octets": "of the messages that came",
            "seconds": "how long this run took",
        },
        text="The newest mail first, while the cell serves. What is cut short goes on where it was.",
    ),
)  # fmt: skip
