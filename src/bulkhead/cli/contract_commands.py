"""The rows of the tree for the contract. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import LIVE, TENANT, Argument, Command, option, positional

_CONTRACT = (
    "Terms and their limits are in docs/contract.md. A promise that is broken, or kept again, is an entry of the "
    "ledger; the partner sees the same numbers."
)
_KEYS = {
    "tenants": "one object a tenant",
    "tenants[].tenant": "the tenant's id",
    "tenants[].adopted": "since when its contract is in force, ms since 1970; 0: it has none",
    "tenants[].checked": "when it was last measured, ms; 0: never",
    "tenants[].terms": "one object a promise",
    "tenants[].terms[].term": "its name",
    "tenants[].terms[].unit": "of the numbers",
    "tenants[].terms[].promised": "what was agreed",
    "tenants[].terms[].measured": "what is; -1: it never happened, or it is not measured",
    "tenants[].terms[].standing": "`kept`, `broken` or `unmeasured`",
    "tenants[].terms[].since": "from when on it stands so, ms",
    "tenants[].terms[].entry": "the entry of the ledger that shows it, or -1",
    "tenants[].terms[].why": "what there is to say",
}
_WHO = (
    positional("tenant", "The tenant's id; or --all.", nargs="?"),
    Argument(("--all",), "Every tenant that is not disabled.", {"action": "store_true"}),
)

CONTRACT_COMMANDS = (
    Command(
        ("contract", "template"), "Print a contract.toml with every term.", "bulkhead.cli.contract:template",
        in_installation=False,
    ),
    Command(
        ("contract", "adopt"), "Put what was agreed into force; its hash goes into the ledger.",
        "bulkhead.cli.contract:adopt",
        (
            TENANT,
            positional("file", "The contract.toml that both sides agreed on (default: contracts/TENANT.toml).",
                       nargs="?", default=""),
        ),
        exits=LIVE, text=_CONTRACT,
    ),
    Command(
        ("contract", "check"), "Measure what was promised: components, the ledger, the settings.",
        "bulkhead.cli.contract:check",
        (*_WHO, option("--every", "MINUTES", "Go on, so often, until it is stopped.", type=int, default=0)),
        json_keys=_KEYS, exits=(ExitCode.FINDING, ExitCode.INTEGRITY, *LIVE), text=_CONTRACT,
    ),
    Command(
        ("contract", "show"), "Show what was agreed, and how it stood when it was last measured.",
        "bulkhead.cli.contract:show", _WHO, json_keys=_KEYS, exits=(ExitCode.FINDING, *LIVE), text=_CONTRACT,
    ),
    Command(
        ("contract", "notice"), "Tell the partner what an entry of the ledger means.", "bulkhead.cli.contract:notice",
        (
            TENANT,
            option("--entry", "INDEX", "Which entry.", type=int, required=True),
            option("--text", "TEXT", "What happened, and what is done; no address in it.", required=True),
        ),
        exits=LIVE, text="It ends the clock of notice.hours for that entry.",
    ),
)  # fmt: skip
