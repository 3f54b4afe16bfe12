"""The rows of the tree for access records. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import LIVE, TENANT, Command, flag, option

_WINDOW = (
    option("--since", "TIME", "From when: 2026-11-22T09:00Z, or so long ago: 30m, 24h, 7d (default 24h).",
           default="24h"),
    option("--until", "TIME", "Until when (default: now).", default="now"),
    option("--account", "ADDRESS", "Of this account: its address, or its id (acc_...).", default=""),
    option("--source", "NETWORK", "From this address or network: 192.0.2.7, 192.0.2.0/24, 2001:db8::/32.", default=""),
    option("--act", "NAME", "Of this act only; may be repeated.", action="append",
           choices=("login", "session_begun", "session_ended", "keys_opened", "delivered", "appended", "queued",
                    "staff")),
    option("--compartment", "NAME", "As this compartment recorded it; may be repeated (default: all).",
           action="append", choices=("directory", "auth", "keyring", "store", "queue")),
    option("--gate", "NAME", "What came through this compartment.", default="",
           choices=("", "mx", "submit", "access", "web", "console", "courier", "cli")),
    option("--officer", "NAME", "Acts of this member of staff only; `cli` for the command line of this host.",
           default=""),
)  # fmt: skip

AUDIT_COMMANDS = (
    Command(
        ("audit", "list"), "List access records: logins, sessions, key openings, deliveries, acts of staff.",
        "bulkhead.cli.audit:list_records",
        (
            TENANT, *_WINDOW,
            option("--limit", "N", "At most so many of each compartment; 0: all (default 1000).", type=int,
                   default=1000),
            option("--format", "NAME", "table, json, ocsf, ecs, cef or syslog; all but table one record a line.",
                   default="table", choices=("table", "json", "ocsf", "ecs", "cef", "syslog")),
            flag("--addresses", "Look up the address of each account; only names that are asked for are shown else."),
        ),
        exits=(ExitCode.INTEGRITY, *LIVE),
        text="Exits with 5 where a record does not open. docs/access-records.md says what is recorded, for how long.",
    ),
    Command(
        ("audit", "count"), "Count access records of a window, and the accounts they are about.",
        "bulkhead.cli.audit:count_records", (TENANT, *_WINDOW), exits=(ExitCode.INTEGRITY, *LIVE),
        json_keys={
            "tenant": "the tenant's id",
            "since": "ms since 1970",
            "until": "ms since 1970",
            "seconds": "how long it took",
            "compartments": "one object a compartment",
            "compartments[].compartment": "its name",
            "compartments[].records": "how many records",
            "compartments[].accounts": "how many different accounts they are about",
            "compartments[].damaged": "blocks that do not open",
            "compartments[].oldest": "first day that can be read, ms since 1970",
            "compartments[].acts": "one object an act and outcome",
            "compartments[].acts[].act": "the act",
            "compartments[].acts[].outcome": "how it ended",
            "compartments[].acts[].records": "how many",
        },
    ),
    Command(
        ("audit", "send"), "Send access records to a collector: RFC 5424 over TLS.", "bulkhead.cli.audit_send:send",
        (
            TENANT,
            option("--to", "HOST:PORT", "The collector (RFC 5425).", required=True),
            option("--ca", "FILE", "Certificates that the collector's is checked against (default: the host's).",
                   default=""),
            option("--state", "FILE", "How far it has come; kept up to date.", required=True),
            option("--every", "SECONDS", "Go on, so often, until it is stopped.", type=int, default=0),
            flag("--addresses", "With addresses of accounts."),
        ),
        exits=LIVE,
        text="What was written after the state was last saved is sent again: a collector may see a record twice, and "
        "none is left out.",
    ),
)  # fmt: skip
