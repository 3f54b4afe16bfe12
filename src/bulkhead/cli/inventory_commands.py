"""The rows of the tree for components and advisories. Standard library only."""

from collections.abc import Mapping

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import Argument, Command, flag, option, positional

_COMPONENT = {
    "components": "one object a component",
    "components[].name": "its name; of a shared library, its file's",
    "components[].version": "its version, or empty where it does not tell",
    "components[].kind": "`package`, `platform` (the interpreter, what it is linked with, what a package brings along) "
    "or `library`",
    "components[].within": "the package that brings it along, compiled in, or empty",
    "components[].licence": "an SPDX expression, or its own words",
    "components[].sha256": "of its RECORD, which lists a hash for each file, or of its file; may be empty",
    "components[].purl": "its package URL",
    "components[].since": "since when it lies here as it is, ms since 1970; 0: unknown",
    "components[].used": "compartments whose own modules load it, and `cli`",
    "components[].mapped": "compartments that have it in memory because their image does",
}
_TOUCHED = {
    "touched": "only with --touched: whom a flaw in it would touch",
    "touched.component": "as it was asked for",
    "touched.compartments": "one object a compartment that has it in memory",
    "touched.compartments[].compartment": "its name, or `cli`",
    "touched.compartments[].loads": "`itself`, or `in memory only`: its image loads it, its own code does not",
    "touched.compartments[].falls": "what falls with it",
    "touched.compartments[].reaches": "what the drill's budget accepts that it reaches, one object a column",
    "touched.compartments[].reaches[].what": "the column",
    "touched.compartments[].reaches[].ceiling": "a count; `sessions`: its live ones'; `own`: its own tenant's",
    "touched.compartments[].reaches[].measured": "what the drill given with --drill measured, or null",
    "touched.tenants": "one object a tenant",
    "touched.tenants[].tenant": "its id",
    "touched.tenants[].name": "its name",
    "touched.tenants[].running": "whether its cell runs",
    "touched.tenants[].accounts": "its accounts that are not purged; null: its cell does not run",
    "touched.tenants[].by_status": "the same by status",
    "touched.tenants[].by_status[].status": "the status",
    "touched.tenants[].by_status[].accounts": "how many",
    "touched.tenants[].started": "whether its cell was started with what is installed now; null: it does not run",
    "touched.tenants[].live": "compartments whose running processes map a shared object of it, as /proc shows to root; "
    "null: not to be seen, or it has none",
    "touched.accounts": "of all these tenants: a ceiling",
    "touched.counted": "whether every tenant's accounts were counted",
    "touched.advisories": "ids of the advisories at hand that concern this version",
    "touched.drill": "when the drill given with --drill was run, or null",
}
_ROW = {
    "advisory": "the record's id", "component": "the component's name", "version": "the version that is installed",
    "severity": "`low`, `medium`, `high`, `critical` or `unknown`", "published": "when it was published, ms since 1970",
}  # fmt: skip
_ADVISORIES: Mapping[str, str] = {
    "brought": "when records were last brought, ms since 1970; 0: never",
    "read": "how many were read then",
    "kept": "how many are kept: those that name what is installed",
    "newest": "when the youngest of all was last changed, ms",
    "components": "how many components are installed",
    "advisories": "one object a record and component that it concerns, or may concern",
    **{f"advisories[].{key}": text for key, text in _ROW.items()},
    "advisories[].aliases": "other ids of the same flaw",
    "advisories[].within": "the package that brings the component along, or empty",
    "advisories[].came": "when it first came in here, ms",
    "advisories[].verdict": "`concerned`, or `unsure`: nothing tells whether this version is meant",
    "advisories[].compartments": "which load the component themselves, and `cli`",
    "advisories[].summary": "the record's",
    "advisories[].tenants": "whose ledgers have it open",
    "tenants": "one object a tenant that answered",
    "tenants[].tenant": "its id",
    "tenants[].checked": "when components were last compared for it, ms; 0: never",
    "tenants[].inventory": "SHA-256 of what was installed then",
    "tenants[].unsure": "how many records could not be compared",
    "tenants[].left": "how many more are open than the hundred that are kept",
    "tenants[].rows": "open ones, then the newest closed ones",
    **{f"tenants[].rows[].{key}": text for key, text in _ROW.items()},
    "tenants[].rows[].came": "when it first came in here, ms",
    "tenants[].rows[].sha256": "of the record",
    "tenants[].rows[].opened": "when it was first found to concern this cell, ms",
    "tenants[].rows[].closed": "when it did no more, ms; 0: it is open",
    "tenants[].rows[].why": "it was closed",
    "unanswered": "tenants whose cells do not run, or did not answer",
}
_FILES = positional(
    "file", "OSV records, one a file; of a folder, every file in it whose name ends in .json.", nargs="+"
)
_LOG = option("--log", "DIR", "An export of the tenant's log (ledger TENANT export).", default="")
_KEY = option("--key", "KEY", "The log's public key, or a file that has it.", default="")
_MORE = (ExitCode.FINDING, ExitCode.INTEGRITY)
_TEXT = (
    "Records are in the OSV format; they carry no signature, so that whoever brings them vouches for them, by their "
    "SHA-256 in the ledger. Nothing is fetched. docs/inventory.md."
)

INVENTORY_COMMANDS = (
    Command(
        ("inventory",), "List components of others, and which compartments load them; or whom one touches.",
        "bulkhead.cli.inventory:inventory",
        (
            positional("tenant", "Only this tenant's cell, with --touched (default: every tenant).", nargs="?"),
            option("--touched", "COMPONENT", "Whom a flaw in this one would touch, and what each could reach.",
                   default=""),
            option("--drill", "FILE", "With --touched: the result of a drill (drill --json FILE).", default=""),
            Argument(("--all",), "Also what no compartment loads.", {"action": "store_true", "dest": "every"}),
            flag("--cyclonedx", "Print a CycloneDX 1.6 document."),
        ),
        json_keys={
            "as_of": "when, ms since 1970", "version": "of this build",
            "inventory": "SHA-256 of what is installed, as the ledger's ComponentsChecked has it",
            **_COMPONENT, **_TOUCHED,
        },
        text="Measured: each compartment's modules are loaded in a process of its own. docs/inventory.md.",
    ),
    Command(
        ("advisory", "import"), "Bring records of known flaws, and compare; each tenant's ledger has what concerns it.",
        "bulkhead.cli.advisory:bring_in", (_FILES,), json_keys=_ADVISORIES, exits=_MORE, text=_TEXT,
    ),
    Command(
        ("advisory", "check"), "Compare again what is installed with the records that were brought.",
        "bulkhead.cli.advisory:check",
        (
            positional("tenant", "The tenant's id; or --all.", nargs="?"),
            Argument(("--all",), "Every tenant that is not disabled.", {"action": "store_true"}),
        ),
        json_keys=_ADVISORIES, exits=_MORE,
        text="`contract check` does it too. An advisory closes when the cell was started with a version without it.",
    ),
    Command(
        ("advisory", "list"), "List advisories that concern what is installed, and where they are open.",
        "bulkhead.cli.advisory:show", json_keys=_ADVISORIES, exits=_MORE,
        text="Nothing is recorded. A finding where any is open, or concerns what a compartment loads.",
    ),
    Command(
        ("advisory", "compare"), "At the partner: records of one's own beside an inventory, and beside the log.",
        "bulkhead.cli.partner_view:compare",
        (_FILES, option("--inventory", "FILE", "What inventory --cyclonedx printed.", required=True), _LOG, _KEY),
        in_installation=False, exits=_MORE,
        json_keys={
            "inventory": "SHA-256 of the inventory in the file",
            "noted": "whether the log's last comparison was of that inventory; null: no log, or none was noted",
            "records": "how many records were read",
            "rows": "one object a record and component that it concerns, or may concern",
            **{f"rows[].{key}": text for key, text in _ROW.items()},
            "rows[].verdict": "`concerned` or `unsure`",
            "rows[].compartments": "which load the component themselves",
            "rows[].open_in_log": "whether the log has it open, or null without a log",
            "log": "what the log has open: id and component",
        },
        text="A finding where the log does not have open what concerns the inventory, or knows another inventory.",
    ),
)  # fmt: skip

PARTNER_CONTRACT = Command(
    ("contract", "verify"), "At the partner: measure a contract from an exported log, offline.",
    "bulkhead.cli.partner_view:verify_contract",
    (
        positional("file", "The contract.toml that both sides agreed on."),
        option("--log", "DIR", "An export of the tenant's log (ledger TENANT export).", required=True),
        option("--key", "KEY", "The log's public key, or a file that has it.", required=True),
    ),
    in_installation=False, exits=_MORE,
    json_keys={
        "entries": "how many entries of the log were checked and read",
        "as_of": "when it was measured, ms since 1970",
        "terms": "one object a promise",
        "terms[].term": "its name", "terms[].unit": "of the numbers", "terms[].promised": "what was agreed",
        "terms[].measured": "what is; -1: it never happened, or the log does not tell",
        "terms[].standing": "`kept`, `broken` or `unmeasured`",
        "terms[].entry": "the entry of the log that shows it, or -1", "terms[].why": "what there is to say",
    },
    text="By the same functions as `contract check`, with nothing of the operator's but the log, whose every entry is "
    "checked under its key. What only a setting of the cell shows is unmeasured here.",
)  # fmt: skip
