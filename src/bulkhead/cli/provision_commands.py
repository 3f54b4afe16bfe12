"""The rows of the tree for provisioning files. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import LIVE, REASON, TENANT, Command, option, positional

_FILE = positional("file", "The file: JSON Lines, docs/provisioning.md.")
_PLAN = {
    "tenant": "the tenant's id",
    "name": "the file's name, as its first line has it",
    "root": "what officers sign: SHA-256, hexadecimal",
    "lines": "how many lines it has",
    "chunks": "how many pieces it is carried out in",
}
_STATE = {
    **_PLAN,
    "chunk": "the next piece",
    "done": "lines that are through",
    "refused": "lines of them that were refused",
    "begun": "when it was begun, ms since 1970",
    "changed": "when it last went on, ms since 1970",
}

PROVISION_COMMANDS = (
    Command(
        ("provision", "check"), "Read a provisioning file, and say what it comes to.", "bulkhead.cli.provision:check",
        (positional("tenant", "The tenant's id."), _FILE), in_installation=False, exits=(ExitCode.FINDING,),
        json_keys={
            **_PLAN,
            "refused": "lines that are not in their form",
            "verbs": "one object a verb",
            "verbs[].do": "the verb",
            "verbs[].lines": "how many lines have it",
        },
        text="Nothing is asked of a cell. Standard error names the first lines that are wrong.",
    ),
    Command(
        ("provision", "passwords"), "Give the accounts of a file their first passwords, before it is signed.",
        "bulkhead.cli.provision_passwords:passwords",
        (
            positional("tenant", "The tenant's id."), _FILE,
            option("--to", "FILE", "The file with what its passwords are known by: this one is signed.", required=True),
            option("--secrets", "FILE", "What auth is shown: digests, for `apply`; no password.", required=True),
            option("--letters", "FILE", "Addresses and random passwords, sealed to the partner's key.", default=""),
            option("--partner", "KEY", "With --letters: the tenant's pinned.recovery_partner.", default=""),
            option("--digests", "FILE", "Instead: ADDRESS, tab, digest as other servers write it, a line each.",
                   default=""),
        ),
        in_installation=False,
        text="Give it where the partner is. Accounts that have a password in the file keep it; without a digest, none.",
    ),
    Command(
        ("provision", "letters"), "Open the letters: address and first password, with a tab between.",
        "bulkhead.cli.provision_passwords:letters",
        (
            positional("tenant", "The tenant's id."), positional("file", "The letters."),
            option("--partner-key", "FILE", "The partner's private recovery key.", required=True),
        ),
        in_installation=False, exits=(ExitCode.INTEGRITY,),
    ),
    Command(
        ("provision", "sign"), "Read a provisioning file, and sign the order for it and no other.",
        "bulkhead.cli.provision:sign",
        (
            positional("tenant", "The tenant's id."), _FILE,
            option("--order", "FILE", "The order; the first officer makes it.", required=True),
            option("--roster", "FILE", "The roster in force, signed.", required=True),
            option("--key", "FILE", "The officer's private key.", required=True),
            option("--passphrase-file", "FILE", "The passphrase, its first line; asked for where it is missing.",
                   default=""),
            option("--hours", "N", "How long it may be carried out (default 72, at most 168).", type=int, default=72),
            REASON,
        ),
        in_installation=False, exits=(ExitCode.REFUSED, ExitCode.INTEGRITY),
        text="The digest is made here, of the file as it lies here: who changes a line afterwards has no order for it.",
    ),
    Command(
        ("provision", "apply"), "Carry a provisioning file out, or go on with it.", "bulkhead.cli.provision:apply",
        (
            TENANT, _FILE,
            option("--order", "FILE", "The signed order; needed where the roster's policy refuses local powers.",
                   default=""),
            option("--passwords", "FILE", "The secrets that `provision passwords` wrote with this file.", default=""),
            option("--errors", "FILE", "Where refused lines go (default FILE.errors).", default=""),
        ),
        exits=(ExitCode.FINDING, *LIVE), json_keys=_STATE,
        text="Cut off anywhere, the same command goes on. Refused lines: number, word and line, with tabs between.",
    ),
    Command(
        ("provision", "status"), "How far a provisioning file has come.", "bulkhead.cli.provision:status",
        (TENANT, _FILE), exits=LIVE, json_keys=_STATE,
    ),
)  # fmt: skip
