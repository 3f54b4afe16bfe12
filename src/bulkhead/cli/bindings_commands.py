"""The rows of the tree for lists of bindings. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import LIVE, TENANT, Command, option, positional

_ID = positional("tenant", "The tenant's id.")
_KEY = option("--partner-key", "FILE", "The partner's private recovery key.", required=True)
_OFFLINE = (ExitCode.REFUSED, ExitCode.INTEGRITY)

BINDINGS_COMMANDS = (
    Command(
        ("domain", "bindings"), "Write a list of every address, account and binding, sealed to the partner.",
        "bulkhead.cli.bindings:make", (TENANT, option("--to", "FILE", "A new file.", required=True)), exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "rows": "addresses and groups in it",
            "sha256": "of the file, as the ledger has it",
        },
        text="Its digest is in the ledger before the file has its name. Only the partner's recovery key opens it.",
    ),
    Command(
        ("bindings", "diff"), "What is different between two lists: added, taken away, changed.",
        "bulkhead.cli.bindings:diff",
        (_ID, positional("old", "The older list."), positional("new", "The newer one."), _KEY),
        in_installation=False, exits=(ExitCode.FINDING, *_OFFLINE),
        text="Needs no installation. A line each: what, a tab, the address.",
    ),
    Command(
        ("bindings", "verify"), "Verify every binding of a list under the tenant's binding key.",
        "bulkhead.cli.bindings:verify",
        (
            _ID, positional("file", "The list."), _KEY,
            option("--binding-key", "KEY", "The tenant's pinned.binding_key, base64.", required=True),
            option("--digest", "SHA256", "What the entry BindingsListed says; compared where it is given.", default=""),
        ),
        in_installation=False, exits=_OFFLINE,
    ),
)  # fmt: skip
