"""The rows of the tree for credentials. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import LIVE, REASON, TENANT, Command, flag, option, positional

_REPORT = {
    "tenant": "the tenant's id",
    "as_of": "when the audit began, ms since 1970",
    "seconds": "how long it took",
    "matched": "whether the halves were matched account by account",
    "accounts": "accounts of directory, all statuses",
    "records": "records opened, of auth and keyring together",
    "legacy": "credentials whose password is still wrapped in an imported digest",
    "faults": "records that do not open, all of them",
    "problems": "the first of them, in words, a list",
    "mismatches": "accounts whose halves, or whose status and halves, disagree",
    "mismatched": "the first of them, one object an account",
    "mismatched[].account": "its id",
    "mismatched[].what": "what disagrees",
    "revoked_auth": "halves of `auth` that a revocation of the tenant's credentials bars, or that are revoked singly",
    "revoked_keyring": "the same of `keyring`, and app passwords that a renewal of the mailbox key ended; else another "
    "number says that one of the two was not told",
    "strays": "records of no account of directory",
    "statuses": "one object an account status",
    "statuses[].status": "the status, as directory has it",
    "statuses[].accounts": "how many accounts",
    "statuses[].without_credential": "how many of them have none",
    "counts": "one object a sort of record; their counts add up to `records`",
    "counts[].compartment": "`auth` or `keyring`",
    "counts[].record": "`auth half`, `app password note`, `keyring half` or `mailbox key`",
    "counts[].status": "the account's status; `stray`: of no account; `-`: not matched",
    "counts[].scheme": "how the password is stretched (`hkdf`: app password; an imported scheme in parentheses); "
    "`unreadable`; empty in keyring, which does not know it",
    "counts[].state": "the half's state",
    "counts[].key_version": "the key version that it is sealed under",
    "counts[].count": "how many",
}

CREDENTIALS_COMMANDS = (
    Command(
        ("credentials", "revoke"),
        "Revoke every main password, app password or both of a tenant; sessions end at once.",
        "bulkhead.cli.revoke:revoke",
        (
            TENANT,
            flag("--main", "Every main password: each subscriber needs a new one."),
            flag("--app", "Every app password."),
            flag("--all", "Both."),
            REASON,
        ),
        exits=LIVE,
        text="One number that keyring and auth keep, each on its own: what was set until now admits nobody, for ever. "
        "Either alone keeps all out; where one was away, give the command again. There is no taking it back: "
        "`account passwd` gives a new main password, with both recovery keys.",
        json_keys={
            "tenant": "the tenant's id",
            "epoch": "what was set until then is revoked, ms since 1970",
            "sessions_ended": "live sessions that ended",
            "effects": "one object a compartment",
            "effects[].compartment": "`auth` or `keyring`",
            "effects[].done": "whether it is durable there",
            "effects[].milliseconds": "from the start of the command",
            "effects[].error": "why it is not, or null",
        },
    ),
    Command(
        ("credentials", "audit"),
        "Open every credential and mailbox key, count how each is protected, and have the ledger witness it.",
        "bulkhead.cli.credentials:audit",
        (
            positional("tenant", "The tenant's id (default: every one that is not disabled).", nargs="?"),
            flag("--quick", "Do not match the halves with each other and with the accounts."),
        ),
        exits=(ExitCode.FINDING, *LIVE, ExitCode.INTEGRITY),
        json_keys={
            "complete": "whether every tenant asked has answered",
            "tenants": "one object a tenant",
            "tenants[].sha256": "SHA-256 of `report` as one line of JSON, keys in order, no spaces (`jq -cjS`); the "
            "ledger has it",
            "tenants[].entry": "index of the ledger's entry",
            "tenants[].report": "what was found",
            **{f"tenants[].report.{key}": text for key, text in _REPORT.items()},
        },
        text="Logins go on meanwhile. What disagrees is asked for again two seconds later, and listed only if it still "
        "does. Exits with 5 where records do not open, with 1 where halves or statuses disagree.",
    ),
    Command(
        ("credentials", "rotate"),
        "Seal every credential and mailbox key under new keys, while logins go on.",
        "bulkhead.cli.rotate:rotate",
        (
            TENANT,
            flag("--emergency", "Destroy the old keys as soon as every record opens under the new ones."),
            option("--keep-days", "N", "Keep the old keys so long, for backups (default 30).", type=int, default=30),
            flag("--due", "Begin no rotation: bring one to its end, and destroy old keys whose time has come."),
        ),
        exits=(ExitCode.FINDING, *LIVE, ExitCode.INTEGRITY),
        json_keys={
            "tenant": "the tenant's id",
            "backup": "id of the backup that was made before anything was destroyed; null where none was",
            "dead_backups": "ids of the backups, where the settings keep them, that need a key destroyed now, a list",
            "keys": "one object a compartment",
            "keys[].compartment": "`auth` (K_auth) or `keyring` (K_ring)",
            "keys[].version": "the version in force",
            "keys[].records": "records that were opened under it",
            "keys[].unreadable": "records that open under no version",
            "keys[].seconds": "how long it took",
            "keys[].destroyed": "versions that were destroyed, a list",
            "keys[].kept": "one object a retired version that is not destroyed yet",
            "keys[].kept[].version": "its number",
            "keys[].kept[].until": "from when on it may be destroyed, ms since 1970; 0: at once",
        },
        text="Goes on where an earlier one was cut short. Then, where the settings say where backups lie, makes a "
        "backup, and destroys nothing where that fails; an emergency destroys at once, and backs up nothing. Old "
        "versions whose time has come go: the ledger has it first, then the key files are sealed anew under other "
        "root keys. Files in custody/ and escrow/ change: copy them again. With --emergency a copy of both databases "
        "opens nothing from the end of the command on.",
    ),
    Command(
        ("credentials", "renew-mailboxes"),
        "Give every account of a tenant a new mailbox key, each at its next login by the main password.",
        "bulkhead.cli.renew_mailboxes:renew_mailboxes",
        (
            TENANT,
            flag("--status", "Order nothing; say how far it has come."),
            option("--reason", "TEXT", "Why, for the ledger (no address).", default=""),
        ),
        exits=LIVE,
        text="For a keyring that was compromised: what was sealed to a key that it had opens for whoever has it; what "
        "comes in after the renewal does not. App passwords that read mail end with the old key and are made anew. "
        "Given again, every account gets one more. Accounts that never log in keep the key they have.",
        json_keys={
            "tenant": "the tenant's id",
            "order": "number of the order in force; 0: none was given",
            "ordered_at": "when it was given, ms since 1970, or null",
            "renewed": "accounts whose mailbox key was made since then",
            "outstanding": "accounts that still have the one of before",
            "opened_by_older": "arrived messages that were sealed to an older key and opened since keyring was started",
        },
    ),
    Command(
        ("credentials", "breached", "import"),
        "Make a list of breached passwords the one that auth looks up in.",
        "bulkhead.cli.breached:import_list",
        (
            positional("source", "A file of SHA-1 hashes ordered by hash, a folder of ranges, or a list of words."),
            flag("--full", "Keep all 20 octets of each hash, not 8."),
        ),
        text="Takes what Have I Been Pwned offers for download (SHA-1, not NTLM) and plain lists, as "
        "docs/breached-passwords.md says. The file is made beside the old one and takes its name once it is on disk.",
    ),
)
