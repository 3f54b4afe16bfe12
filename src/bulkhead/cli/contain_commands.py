"""The row of the tree for containment. Standard library only."""

from bulkhead.cli.tree import LIVE, REASON, TENANT, Command, flag, option, positional

SURFACES = (
    "logins", "imap", "pop3", "submission", "main-passwords", "app-passwords", "reset-passwords",
    "revoke-app-passwords", "sessions", "outbound", "inbound", "freeze", "rule-source", "rule-worker", "rule-sender",
)  # fmt: skip
_STATUSES = ("provisioned", "active", "suspended", "dormant")

CONTAIN_COMMANDS = (
    Command(
    ("contain",), "Stop one surface of a tenant, for all its accounts or some; preview it, time it, lift it.",
    "bulkhead.cli.contain:contain",
    (
        TENANT,
        positional("surface", "What to stop.", choices=SURFACES),
        option("--accounts", "FILE", "For these accounts alone: their ids, one a line.", default=""),
        option("--status", "STATUS", "For the accounts of this status alone.", default="", choices=("", *_STATUSES)),
        option("--set", "DIGEST", "For a set or a rule's subject, by `containment --json`.", default="", dest="digest"),
        option("--for", "HOURS", "It lapses by itself then, once the ledger has it.", type=float, dest="for_hours"),
        flag("--preview", "Do nothing: say whom it reaches, what stays alive, and whether it may have to be reported."),
        flag("--lift", "Open the surface again, to the same accounts; waits for the ledger."),
        option("--order", "FILE", "Do nothing: write the order, for officers to sign.", default=""),
        option("--roster", "FILE", "With --order: the roster in force, signed.", default=""),
        option("--expires", "HOURS", "With --order: how long it may be submitted (default 24).", type=int, default=24),
        REASON,
    ),
    exits=LIVE,
    json_keys={
        "tenant": "the tenant's id",
        "surface": "what is stopped",
        "preview": "whether nothing was done",
        "lifted": "whether it was opened again",
        "accounts": "how many accounts it reaches: those of the set, or the active ones",
        "set": "SHA-256 of the set's ids in a row; empty: every account",
        "until": "when it lapses, ms since 1970; 0: it does not",
        "sessions": "live sessions that end, or did",
        "messages": "queued messages that wait",
        "alive": "what goes on all the same",
        "accidents": "one object a rule of accidents.toml about this surface",
        "accidents[].regime": "whose rule",
        "accidents[].users": "its users",
        "accidents[].hours": "its hours",
        "accidents[].reached": "whether the stop reaches it; null: not before `after_hours`",
        "accidents[].after_hours": "from how many hours on, or null",
        "accidents[].verify": "what to verify before relying on it",
        "effects": "one object a compartment that guards the surface",
        "effects[].compartment": "its name",
        "effects[].done": "whether it holds there, durably",
        "effects[].milliseconds": "from the moment the command was understood until it was durable there",
        "effects[].error": "why not, or that it holds in memory alone; or null",
    },
    text="Works while the ledger is down. Each compartment that guards the surface enforces it for itself; a gate that "
    "is compromised does not pass it. Exits with 0 when all of them have it on disk. docs/containment.md.",
),
    Command(
        ("evict",), "End processes of one compartment of a cell; each is begun afresh, from its image.",
        "bulkhead.cli.evict:evict",
        (
            TENANT, positional("compartment", "Its name, such as access."),
            option("--accounts", "FILE", "Only workers with sessions of these accounts: ids, one a line.", default=""),
            option("--address", "ADDRESS", "Only workers with sessions of this account.", default=""),
            flag("--preview", "Do nothing: say which sessions end, also of others at the same workers."),
            REASON,
        ),
        exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "compartment": "whose processes",
            "preview": "whether nothing was done",
            "accounts": "accounts of the set; 0: it was not about accounts",
            "set": "SHA-256 of the set's ids in a row, or empty",
            "sessions": "live sessions of these accounts there",
            "others": "sessions of others at the same workers, which end too",
            "processes": "how many processes are meant",
            "ended": "how many were ended",
        },
        text="The local act of whoever runs the cell: no order binds it. With accounts their sessions end everywhere "
        "first, as by `contain TENANT sessions`, which a roster may refuse without an order; then the workers that had "
        "one die. Sessions outlive the restart of every compartment but `keyring`, unless the gate that has them is "
        "evicted.",
    ),
    Command(
        ("containment",), "List what of a tenant is stopped, at each compartment that guards it.",
        "bulkhead.cli.contain:list_stopped", (TENANT,), exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "stopped": "one object a surface, set and compartment",
            "stopped[].compartment": "who guards it",
            "stopped[].surface": "its name; `stop --logins`, `stop --outbound`: by `bulkhead stop`, of everybody",
            "stopped[].accounts": "accounts of the set; 0: every account",
            "stopped[].set": "SHA-256 of the set's ids in a row, or of a rule's subject; empty: every account",
            "stopped[].epoch": "since when, ms since 1970",
            "stopped[].until": "when it lapses, ms since 1970; 0: it does not, or, of `stop`, an order's end",
        },
    ),
)  # fmt: skip
