"""The rows of `export ...` and `account undelete` in COMMANDS. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import ADDRESS, LIVE, REASON, TENANT, Argument, Command, flag, option, positional

_ACCOUNT = Argument(
    ("--account",), "Only this address; may be repeated.", {"metavar": "ADDRESS", "action": "append", "default": []}
)

EXPORT_COMMANDS = (
    Command(
        ("account", "undelete"), "Bring back what an account's subscriber deleted.", "bulkhead.cli.undelete:undelete",
        (
            TENANT, ADDRESS,
            flag("--list", "Only say what can come back."),
            option("--folder", "ID", "Only of this mailbox, as --list names it.", default=""),
            option("--days", "N", "Only what was deleted in the last N days.", type=int, default=0),
            REASON,
        ),
        exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "address": "the address",
            "returned": "how many messages came back",
            "folders": "one object a mailbox, the newest deletions first",
            "folders[].folder": "the mailbox's id",
            "folders[].role": "`INBOX`, `drafts`, `sent`, `junk`, `trash`, `archive`, or null",
            "folders[].gone": "whether the mailbox was deleted too",
            "folders[].messages": "messages that could come back",
            "folders[].octets": "their octets",
            "folders[].first": "when the first of them was deleted, ms since 1970",
            "folders[].last": "when the last of them was deleted, ms since 1970",
        },
        text="Works by ids, sizes and dates: names and mail stay sealed. Messages return to their mailbox under new "
        "UIDs; one that was deleted is made again under its name. Kept for `store.undelete_days`. See docs/store.md.",
    ),
    Command(
        ("export", "make"), "Copy a tenant's accounts and mail, sealed, into a directory.",
        "bulkhead.cli.export:make",
        (TENANT, option("--to", "DIR", "Where: empty, or an export to go on with.", required=True), _ACCOUNT),
        exits=(*LIVE, ExitCode.INTEGRITY),
        json_keys={
            "tenant": "the tenant's id",
            "directory": "where the export is",
            "accounts": "accounts that this run wrote",
            "passed": "accounts that an earlier run, which was cut off, had written",
            "messages": "messages of the accounts that this run wrote",
            "octets": "their octets, as subscribers know them",
            "unsettled": "accounts whose rows changed each of three times that they were read",
            "manifest": "SHA-256 of the manifest, hex; the ledger has it",
            "entry": "index of the ledger's entry",
            "seconds": "how long it took",
        },
        text="Opens nothing: mail and names of mailboxes are sealed to the subscribers' keys, and those to both "
        "recovery keys. Addresses, flags, sizes and dates are clear. Run again after a cut it goes on; when it is "
        "whole it fetches what is new. See docs/export.md.",
    ),
    Command(
        ("export", "open"), "Open an export with both recovery keys, as Maildir.",
        "bulkhead.cli.export_open:open_export",
        (
            positional("export", "The directory that `export make` wrote.", metavar="DIR"),
            option("--partner-key", "FILE", "The partner's recovery key.", required=True),
            option("--operator-key", "FILE", "The operator's recovery key.", required=True),
            option("--to", "OUT", "Where the mail goes.", required=True),
            flag("--mbox", "Each mailbox as one file in the form mboxrd as well."),
            option("--manifest", "SHA256", "What the manifest's SHA-256 must be, from the ledger.", default=""),
            _ACCOUNT,
        ),
        in_installation=False, exits=(ExitCode.FINDING, ExitCode.REFUSED, ExitCode.INTEGRITY),
        json_keys={
            "tenant": "the tenant's id",
            "directory": "where the mail is",
            "accounts": "accounts opened",
            "passed": "accounts that an earlier run had opened whole",
            "messages": "messages that this run wrote",
            "octets": "their octets",
            "failures": "messages and names that did not open; the file `failures` of each account tells them",
            "manifest": "SHA-256 of the manifest, hex",
            "seconds": "how long it took",
        },
        text="Runs on any machine, without a cell or an installation: at the partner's. Each file is compared with its "
        "SHA-256 before anything of it is used. Run again after a cut it goes on with the account that it was at.",
    ),
)  # fmt: skip
