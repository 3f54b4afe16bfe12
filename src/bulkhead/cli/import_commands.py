"""The rows of `import ...` in COMMANDS. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import ADDRESS, LIVE, TENANT, Command, option, positional

_KEYS = (
    option(
        "--partner-key", "FILE", "The partner's recovery key: for folders other than INBOX, and keywords.", default=""
    ),
    option("--operator-key", "FILE", "The operator's, likewise; both or none.", default=""),
)
_PLACES = (
    option("--state", "FILE", "How far it has come, with a secret (default: beside it, .state).", default=""),
    option("--errors", "FILE", "What was left out, and why (default: beside it, .errors).", default=""),
)
_KEYS_OF_FILES = {
    "tenant": "the tenant's id",
    "address": "the address",
    "added": "messages that this run put in",
    "there": "messages that were in already, of an earlier run",
    "octets": "octets of those that this run put in",
    "bad": "messages and folders that were left out; the file of errors says why",
    "renumbered": "messages that have another UID than they had",
    "renamed": "messages whose unique-id for POP3 could not be kept",
    "unnamed": "keywords of messages that were left out",
    "seconds": "how long it took",
}

IMPORT_COMMANDS = (
    Command(
        ("import", "cell"), "Make a tenant's cell of a whole export, offline, with both recovery keys.",
        "bulkhead.cli.import_cell:import_cell",
        (
            positional("export", "The directory that `export make` wrote.", metavar="DIR"),
            option("--partner-key", "FILE", "The partner's recovery key.", required=True),
            option("--operator-key", "FILE", "The operator's recovery key.", required=True),
            option("--address", "IP", "The address of its listeners here (default: the one it had).", default=""),
            option("--manifest", "SHA256", "What the manifest's SHA-256 must be, from the old ledger.", default=""),
        ),
        exits=(ExitCode.REFUSED, ExitCode.INTEGRITY),
        json_keys={
            "tenant": "the tenant's id",
            "accounts": "accounts that have a mailbox here now",
            "messages": "message rows, each with its message compared by SHA-256",
            "octets": "their octets",
            "missing": "rows of the export whose message had gone or did not open",
            "halves_apart": "credentials whose halves did not agree: destroyed, recovery sets a new one",
            "manifest": "SHA-256 of the manifest, hex",
            "entry": "index of the last entry of the new ledger",
            "seconds": "how long it took",
        },
        text="Passwords, app passwords, UIDs, UIDVALIDITY and unique-ids go on. Keys are new but those that the two "
        "parties hold. Refused where a tenant of that id is here. Cut off, run again it goes on. See docs/import.md.",
    ),
    Command(
        ("import", "maildir"), "Put a Maildir of another server into an account.",
        "bulkhead.cli.import_files:import_maildir",
        (
            TENANT, ADDRESS, positional("maildir", "The Maildir: cur, new, and folders as Maildir++.", metavar="DIR"),
            *_KEYS, *_PLACES,
        ),
        exits=(*LIVE, ExitCode.FINDING, ExitCode.INTEGRITY), json_keys=_KEYS_OF_FILES,
        text="Flags, dates, Dovecot's UIDs, unique-ids, keywords and subscriptions are kept; UIDs in mailboxes that "
        "never had a message. A locked process reads the files. Cut off, run again it goes on. See docs/import.md.",
    ),
    Command(
        ("import", "mbox"), "Put an mbox of another server into a mailbox.", "bulkhead.cli.import_files:import_mbox",
        (
            TENANT, ADDRESS, positional("mbox", "The file.", metavar="FILE"),
            option("--folder", "NAME", "Into which mailbox (default: INBOX).", default="INBOX"),
            option("--dialect", "D", "How `From ` is quoted: rd (default) or o.", choices=("rd", "o"), default="rd"),
            *_KEYS, *_PLACES,
        ),
        exits=(*LIVE, ExitCode.FINDING, ExitCode.INTEGRITY), json_keys=_KEYS_OF_FILES,
        text="Status, X-Status, X-Keywords, X-UID and X-IMAP are read as mbox programs write them, and not kept in the "
        "header. A locked process reads the file. Cut off, run again it goes on. See docs/import.md.",
    ),
)  # fmt: skip
