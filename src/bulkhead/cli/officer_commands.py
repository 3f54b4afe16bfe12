"""The rows of the tree for officers, rosters and orders. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import LIVE, REASON, TENANT, Argument, Command, flag, option, positional

_PASSPHRASE = option("--passphrase-file", "FILE", "The passphrase, its first line; asked for where it is missing.",
                     default="")  # fmt: skip
_KEY = option("--key", "FILE", "The private key's file.", required=True)
_OUT = option("--out", "FILE", "Where it is written.", required=True)
_ROSTER = option("--roster", "FILE", "The roster in force, signed; verified against --root where that is given.",
                 required=True)  # fmt: skip
_NAME = positional("name", "The officer's name: a-z, 0-9 and -.")
_ROLES = (
    "partner-admin", "partner-security", "partner-support", "partner-collector", "operator-engineer",
    "operator-security", "automatic", "partner-root", "operator-root",
)  # fmt: skip
_EACH = {
    "executors": "one object a compartment that was asked",
    "executors[].compartment": "its name",
    "executors[].state": "`executed`, `waits`, `permits`, `withdrawn`, `lapsed`, `failed` or `used`; null: refused",
    "executors[].due": "when it is executed, or until when it permits, or when it lapses, ms since 1970; 0: never",
    "executors[].error": "why it was refused, or null",
    "executors[].code": "the refusal's short word, or null",
}  # fmt: skip


def _many(name: str, metavar: str, sentence: str) -> Argument:
    return Argument((name,), sentence, {"metavar": metavar, "action": "append", "default": []})


OFFICER_COMMANDS = (
    Command(
        ("officer", "enrol"), "Make an officer's key on this machine, and print its public line for the roster.",
        "bulkhead.cli.officer:enrol",
        (
            _NAME,
            option("--role", "ROLE", "What the officer is.", choices=_ROLES, required=True),
            option("--key", "FILE", "Where the private key goes, sealed under a passphrase.", required=True),
            _PASSPHRASE,
        ),
        in_installation=False,
        text="Needs no installation: run it on the officer's own machine, and keep the file there. The roles "
        "`partner-root` and `operator-root` make keys that sign rosters; the line is for `tenant add --roster-root`.",
    ),
    Command(
        ("officer", "roster", "make"), "Write the next roster, for its roots to sign.", "bulkhead.cli.roster:make",
        (
            positional("tenant", "The tenant's id."),
            positional("officers", "A file of public lines, one an officer's key; `-` is standard input."),
            _OUT,
            option("--previous", "FILE", "The roster in force; without it this is the first.", default=""),
            flag("--refuse-local", "Whatever needs an order is refused to the command line of the host."),
            _many("--quorum", "ACTION:GROUP=N", "Ask for more signatures than the table of orders does."),
            _many("--daily", "ACTION=N", "Allow fewer a day than the table does."),
            option("--recovery-partner", "KEY", "The partner's public recovery key, base64.", default=""),
            option("--recovery-operator", "KEY", "The operator's.", default=""),
            option("--log", "KEY", "The verifier key of the tenant's log.", default=""),
            _many("--witness", "KEY", "The verifier key of whoever cosigns its checkpoints."),
        ),
        in_installation=False,
    ),
    Command(
        ("officer", "roster", "sign"), "Sign a roster with a root's key.", "bulkhead.cli.roster:sign",
        (positional("file", "The roster."), _KEY, _PASSPHRASE), in_installation=False,
        text="Prints what it signs first.",
    ),
    Command(
        ("officer", "roster", "show"), "Show a roster and who signed it.", "bulkhead.cli.roster:show",
        (positional("file", "The roster."), _many("--root", "ROOT", "Verify it under these roots.")),
        in_installation=False, exits=(ExitCode.REFUSED, ExitCode.INTEGRITY),
    ),
    Command(
        ("officer", "automatic"), "Show the key by which the cell may order a stop by itself.",
        "bulkhead.cli.roster:automatic", (TENANT,), exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "key": "base64 of the public key, for a roster under the role `automatic`",
            "id": "its id",
            "roster": "the version of the roster that such orders are made under; 0: none",
            "officer": "the key's name in it, or null",
        },
        text="It orders nothing unless a roster has it and `incident.automatic` names a stop: docs/orders.md.",
    ),
    Command(
        ("officer", "roster", "install"), "Have every executing compartment take a roster.",
        "bulkhead.cli.roster:install",
        (TENANT, positional("files", "Rosters, the oldest first.", nargs="+")), exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "executors": "one object a compartment",
            "executors[].compartment": "its name",
            "executors[].version": "the roster in force there afterwards; 0: none",
            "executors[].error": "why it took none of them, or null",
            "executors[].code": "the refusal's short word, or null",
        },
        text="Each compartment verifies it under the roots in its own settings. One that missed a version takes it "
        "first: name the older files too.",
    ),
    Command(
        ("officer", "order", "make"), "Write an order, for officers to sign.", "bulkhead.cli.order:make",
        (
            positional("tenant", "The tenant's id."),
            positional("action", "One of the table in docs/orders.md."),
            positional("parameters", "Its parameters, NAME=VALUE each.", nargs="*"),
            _ROSTER, _OUT,
            option("--hours", "N", "How long it may be submitted (default 24, at most 168).", type=int, default=24),
            option("--executor", "NAMES", "Of a withdrawal: where, with commas between; everywhere if left out.",
                   default=""),
            REASON,
        ),
        in_installation=False,
    ),
    Command(
        ("officer", "order", "sign"), "Show an order, and sign it with an officer's key.", "bulkhead.cli.order:sign",
        (positional("file", "The order."), _KEY, _PASSPHRASE), in_installation=False,
        text="What it prints is what is signed: read it, and not what somebody else shows.",
    ),
    Command(
        ("officer", "order", "show"), "Show an order, and what its signatures come to.", "bulkhead.cli.order:show",
        (positional("file", "The order."), option("--roster", "FILE", "Verify it under this roster.", default="")),
        in_installation=False, exits=(ExitCode.REFUSED, ExitCode.INTEGRITY),
    ),
    Command(
        ("officer", "order", "submit"), "Carry an order to the compartments that execute it.",
        "bulkhead.cli.order:submit",
        (
            TENANT, positional("file", "The order, signed."),
            option("--accounts", "FILE", "The accounts whose set the order names: their ids, one a line.", default=""),
        ),
        exits=LIVE,
        json_keys={"tenant": "the tenant's id", "action": "its action", "serial": "its serial", **_EACH},
        text="Each verifies it itself. Where one was away, give the command again: what was done is not done twice.",
    ),
    Command(
        ("officer", "order", "withdraw"), "Write and sign the withdrawal of an order that waits.",
        "bulkhead.cli.order:withdraw",
        (
            positional("file", "The order to withdraw, or its serial."), _ROSTER, _OUT, _KEY, _PASSPHRASE,
            REASON,
        ),
        in_installation=False, text="Any one officer does; submit what it writes.",
    ),
    Command(
        ("officer", "scrape-token"), "Write the token by which a collector reads a tenant's metrics.",
        "bulkhead.cli.officer:scrape_token",
        (
            positional("tenant", "The tenant's id."), _KEY, _PASSPHRASE, _OUT,
            option("--console", "NAME", "The console's name, `names.console` of the tenant.", required=True),
            option("--days", "N", "How long it is good (default 90, the most).", type=int, default=90),
        ),
        in_installation=False,
        text="For an officer of the role `partner-collector`. FILE is Prometheus' `credentials_file`, and secret. "
        "A roster without that officer or key ends it at once.",
    ),
    Command(
        ("api",), "Make one call of the console's API, under a session of an officer.", "bulkhead.cli.api:call",
        (
            TENANT,
            Argument(("method",), "GET, POST, PUT or DELETE.", {"choices": ("GET", "POST", "PUT", "DELETE")}),
            positional("path", "The path with its query, /v1/status for one; docs/openapi.json has them all."),
            _KEY, _PASSPHRASE,
            option("--data", "FILE", "The body, JSON; `-` is standard input.", default=""),
            option("--idempotency-key", "KEY", "Of a change; made where it is left out.", default=""),
            option("--ca", "FILE", "Authorities to verify the console by (default: the installation's own).",
                   default=""),
            option("--ledger-key", "KEY", "Verify entries, checkpoint, contract or canaries by the log's key.",
                   default=""),
        ),
        exits=(ExitCode.FINDING, *LIVE, ExitCode.INTEGRITY),
        text="Opens a session, calls, and ends the session. The answer's JSON goes to standard output; with "
        "--ledger-key as `answer`, beside `verified`: what the log's own entries say, by that key alone. Ends with 1 "
        "where the cell says otherwise than its ledger.",
    ),
    Command(
        ("officer", "order", "list"), "What became of orders, in each compartment.", "bulkhead.cli.order:list_orders",
        (TENANT,), exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "executors": "one object a compartment",
            "executors[].compartment": "its name",
            "executors[].roster": "version of the roster in force there; 0: none",
            "executors[].roster_hash": "its hash",
            "executors[].local_refused": "whether the command line needs orders there",
            "executors[].orders": "one object an order, the newest first",
            "executors[].orders[].serial": "its serial",
            "executors[].orders[].action": "its action; empty of one that was withdrawn before it came",
            "executors[].orders[].sha256": "its hash",
            "executors[].orders[].state": "`executed`, `waits`, `permits`, `used`, `withdrawn`, `lapsed` or `failed`",
            "executors[].orders[].due": "when something is to come of it, ms since 1970; 0: nothing",
            "executors[].orders[].at": "when it came to this state",
            "executors[].orders[].officers": "who signed it, with commas between",
        },
    ),
)  # fmt: skip
