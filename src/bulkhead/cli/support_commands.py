"""The rows of the tree for the support desk. Standard library only."""

from bulkhead.boundary.support import ACT_NUMBERS
from bulkhead.cli.tree import ADDRESS, LIVE, TENANT, Command, flag, option, positional

_CASE = positional("case", "The case, as `open` printed it.")
_CASE_KEYS = {
    "case": "its number",
    "officer": "who opened it; `cli` where no roster is installed",
    "role": "the officer's role; `local` where no roster is installed",
    "opened": "since when it is open, ms since 1970",
    "expires": "until when, ms since 1970",
    "closed": "when it was closed, ms since 1970; 0: it was not",
}

SUPPORT_COMMANDS = (
    Command(
        ("support", "case", "open"), "Open a case about the subscriber of one address.",
        "bulkhead.cli.support:open_case",
        (
            TENANT,
            positional("address", "The address, whole, as the subscriber says it."),
            option("--reason", "TEXT", "Why, for the ledger; no address in it.", required=True),
            option("--hours", "N", "How long it stays open, 8 at most (default 1).", type=int, default=1),
            option("--key", "FILE", "The officer's private key; needed once a roster is installed.", default=""),
            option("--passphrase-file", "FILE", "The passphrase, its first line; asked for where it is missing.",
                   default=""),
        ),
        exits=LIVE, json_keys={"tenant": "the tenant's id", **_CASE_KEYS},
        text="Once a roster is installed an officer of the partner signs the case, and every compartment that shows or "
        "does something in it verifies that itself. docs/support.md says who may do what.",
    ),
    Command(
        ("support", "case", "sign"), "Sign a support case for the console's API, without an installation.",
        "bulkhead.cli.support:sign",
        (
            positional("terms", "What GET /v1/support/terms answered; `-` is standard input."),
            positional("address", "The address, whole, as the subscriber says it."),
            option("--reason", "TEXT", "Why, for the ledger; no address in it.", required=True),
            option("--hours", "N", "How long it stays open, 8 at most (default 1).", type=int, default=1),
            option("--key", "FILE", "The officer's private key.", required=True),
            option("--passphrase-file", "FILE", "The passphrase, its first line; asked for where it is missing.",
                   default=""),
        ),
        text="Prints the body of POST /v1/support/cases. What the statement names is compared by each compartment "
        "that takes the case with what it knows itself, so that a console that lies gets a refusal.",
    ),
    Command(
        ("support", "case", "show"), "Show the masked card of the account that a case is about.",
        "bulkhead.cli.support:show", (TENANT, _CASE, ADDRESS), exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "case": "the case's number",
            "address": "the account's address, masked unless it is what was typed",
            "status": "its status",
            "off": "services that are switched off: `login`, `receive`, `send`",
            "class": "its class of service, or empty",
            "created": "when it was made, ms since 1970",
            "aliases": "how many other addresses it has",
            "forwards": "to how many addresses it forwards",
            "quota_bytes": "its quota in octets; 0: no limit",
            "used_bytes": "octets used",
            "app_passwords": "how many app passwords it has",
            "last_login": "day of the last login known, ms since 1970; 0: none",
            "network": "the network of an app password's last use, or empty",
        },
        text="Every look is an entry of the ledger before it is shown.",
    ),
    Command(
        ("support", "case", "act"), "Act in a case, with the code that the subscriber made.",
        "bulkhead.cli.support:act",
        (
            TENANT,
            _CASE,
            positional("act", "What is done.", choices=tuple(ACT_NUMBERS)),
            flag("--code-stdin", "Take the subscriber's code from the first line of standard input."),
            option("--address", "ADDRESS", "request-recovery: the account's address.", default=""),
            option("--out", "FILE", "request-recovery: where the order is written, for officers to sign.", default=""),
        ),
        exits=LIVE,
        text="A code holds for one act. request-recovery takes none, as who forgot the password can make none: it "
        "changes nothing, and the officers who sign its order see to who asks.",
    ),
    Command(
        ("support", "case", "close"), "Close a case.", "bulkhead.cli.support:close", (TENANT, _CASE), exits=LIVE,
    ),
    Command(
        ("support", "case", "list"), "List the cases of the last day.", "bulkhead.cli.support:list_cases", (TENANT,),
        exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "cases": "one object a case, the newest first",
            **{f"cases[].{name}": text for name, text in _CASE_KEYS.items()},
        },
    ),
    Command(
        ("account", "consent"), "Make a code by which the support desk may act once for this account.",
        "bulkhead.cli.support:consent",
        (TENANT, ADDRESS, flag("--password-stdin", "Take the password from the first line of standard input.")),
        exits=LIVE,
        text="For the subscriber: asks for the main password and prints eight digits, which hold for one act within 15 "
        "minutes. The one before is void. Stands for the self-service page until there is one.",
    ),
)  # fmt: skip
