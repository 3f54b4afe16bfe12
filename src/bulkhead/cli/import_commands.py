"""The rows of `import ...` in COMMANDS. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import Command, option, positional

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
)  # fmt: skip
