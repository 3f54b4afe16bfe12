"""COMMANDS: the rows of the tree. Standard library only."""

from bulkhead.cli.app_password_commands import APP_PASSWORD_COMMANDS
from bulkhead.cli.audit_commands import AUDIT_COMMANDS
from bulkhead.cli.backup_commands import BACKUP_COMMANDS
from bulkhead.cli.bindings_commands import BINDINGS_COMMANDS
from bulkhead.cli.contain_commands import CONTAIN_COMMANDS
from bulkhead.cli.contract_commands import CONTRACT_COMMANDS
from bulkhead.cli.credentials_commands import CREDENTIALS_COMMANDS
from bulkhead.cli.directory_commands import DIRECTORY_COMMANDS
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.export_commands import EXPORT_COMMANDS
from bulkhead.cli.import_commands import IMPORT_COMMANDS
from bulkhead.cli.incident_commands import INCIDENT_COMMANDS
from bulkhead.cli.inventory_commands import INVENTORY_COMMANDS, PARTNER_CONTRACT
from bulkhead.cli.ledger_commands import LEDGER_COMMANDS
from bulkhead.cli.officer_commands import OFFICER_COMMANDS
from bulkhead.cli.provision_commands import PROVISION_COMMANDS
from bulkhead.cli.restore_commands import RESTORE_COMMANDS
from bulkhead.cli.routes_commands import ROUTES_COMMANDS
from bulkhead.cli.standby_commands import STANDBY_COMMANDS
from bulkhead.cli.support_commands import SUPPORT_COMMANDS
from bulkhead.cli.tree import LIVE, REASON, TENANT, Argument, Command, flag, option, positional

GROUPS = {
    "cell": "One tenant's cell.",
    "config": "The installation's settings.",
    "tenant": "The tenants of the installation.",
    "domain": "The domains of a tenant.",
    "account": "The accounts of a tenant.",
    "group": "Addresses that reach several accounts.",
    "class": "Classes of service: quota, switches and limits.",
    "bindings": "Lists of addresses and mailbox keys, compared and verified.",
    "provision": "Files of accounts, addresses and switches, signed by officers.",
    "receipt": "Receipts of cancelled accounts.",
    "incident": "What tells that something happened.",
    "credentials": "How passwords are protected, and the keys that they are sealed under.",
    "app-password": "Passwords for one device and some services.",
    "credentials breached": "Passwords that were stolen elsewhere, and may not be used here.",
    "backup": "Copies of a cell that only both recovery keys open.",
    "standby": "A second host that can take over.",
    "audit": "Who did what from where, as each holder recorded it.",
    "advisory": "Known flaws of components, beside what is installed.",
    "contract": "What operator and partner agreed on, measured.",
    "officer": "Officers of a tenant: their keys, the roster, their orders.",
    "officer roster": "Who the officers are: signed by the tenant's roots.",
    "officer order": "What officers order: signed by them, verified by whoever executes it.",
    "support": "The support desk.",
    "support case": "Helping one subscriber: a masked card, and acts by the subscriber's code.",
    "queue": "Outbound mail that waits.",
    "ledger": "The tenant's tamper-evident log.",
    "export": "A tenant's mail, carried away.",
    "import": "What was carried away from elsewhere, or exported.",
    "demo": "Six tenants on loopback.",
}

_ALL = Argument(("--all",), "Every tenant that is not disabled.", {"action": "store_true"})
_MAYBE_TENANT = positional("tenant", "The tenant's id; or --all.", nargs="?")

_INSTALLATION = (
    Command(
        ("init",), "Make a new installation: settings, certificates, keys.", "bulkhead.cli.init:init",
        (
            positional("new_directory", "A directory that is missing or empty.", metavar="DIR"),
            option("--example", "NAME", "Fill it with an example: six-isps.", choices=("six-isps",)),
            option("--operator", "NAME", "The carrier's name.", default=""),
            option("--tenant", "ID", "Make a first tenant of this id; with --domain and --address.", default=""),
            option("--domain", "NAME", "Its first domain; its host names are mx., smtp., imap. of it.", default=""),
            option("--address", "IP", "The address of its listeners.", default=""),
        ),
        in_installation=False,
        text="Each tenant gets its own certificates, keys and two recovery key pairs; the command says where the "
        "recovery keys lie. In production the partner's never touches this host.",
    ),
    Command(
        ("run",), "Run every cell in the foreground.", "bulkhead.cli.run:run", exits=LIVE,
        text="Probes the sandbox first, then prints one line, `ready`, when every listener of every cell accepts. "
        "SIGTERM and Ctrl-C stop it, SIGHUP reloads settings and certificates. With `production = true` it refuses "
        "below sandbox level B, and below A with several tenants unless `accept_level` names the level.",
    ),
    Command(
        ("upgrade",), "Make what an installation of an older build lacks, or say what only somebody else can make.",
        "bulkhead.cli.upgrade:upgrade",
        (
            _MAYBE_TENANT, _ALL,
            option("--partner-key", "FILE", "The partner's recovery key, private or public.", default=""),
            option("--operator-key", "FILE", "The operator's recovery key, private or public.", default=""),
        ),
        exits=(ExitCode.FINDING, *LIVE),
        json_keys={
            "steps": "one object a matter and tenant",
            "steps[].tenant": "the tenant's id",
            "steps[].matter": "what was looked at",
            "steps[].state": "`there`, `made` by this run, or `missing`",
            "steps[].text": "what it is, or what to do",
        },
        text="A second run changes nothing. Databases need no command: each holder brings its own up to date when it "
        "starts. docs/upgrade.md has the order of the steps.",
    ),
    Command(
        ("cell", "run"), "Run one tenant's cell in the foreground.", "bulkhead.cli.run:cell_run",
        (
            TENANT,
            option("--levels-fd", "N", "A sealed memory file with what `run` found out by probing.", type=int),
        ),
        exits=LIVE, text="What a systemd unit or a pod of its own executes; `run` does so for every tenant.",
    ),
    Command(
        ("status",), "What runs where, as whom, and at which sandbox level.", "bulkhead.cli.status:status",
        exits=(ExitCode.FINDING,),
        json_keys={
            "running": "whether every tenant that is not disabled runs",
            "tenants": "one object a tenant",
            "tenants[].tenant": "the tenant's id",
            "tenants[].slot": "its number",
            "tenants[].state": "`running`, `starting`, `stopped` or `disabled`",
            "tenants[].pid": "pid of its supervisor, or null",
            "tenants[].started": "when its supervisor started, ms since 1970, or null",
            "tenants[].level": "its sandbox level, the worst of its compartments', or null",
            "tenants[].memory_bytes": "PSS of all its processes, or null where it could not be read",
            "tenants[].gates": "one object a gate of a cell that runs",
            "tenants[].gates[].gate": "`mx`, `submit` or `access`",
            "tenants[].gates[].workers": "its workers",
            "tenants[].gates[].accepting": "how many of them take new connections",
            "tenants[].gates[].retiring": "how many end with their last session",
            "tenants[].gates[].workers_max": "how many there may be, besides those that make way",
            "tenants[].gates[].mode": "`default`, or `strict`: one session a worker",
            "tenants[].gates[].connections": "open connections, as the workers say",
            "tenants[].gates[].sessions": "sessions now, as the workers say",
            "tenants[].gates[].recycled": "how many workers were told to make way for fresh ones",
            "tenants[].ledger": "its log, or null where it does not answer",
            "tenants[].ledger.size": "entries",
            "tenants[].ledger.newest": "when the newest was true, ms since 1970",
            "tenants[].ledger.cosigned": "entries that the pinned witness has cosigned; 0 for none",
            "tenants[].ledger.cosigned_at": "when, POSIX seconds; 0 for never",
            "tenants[].logins": "what `auth` counted since it started, or null where it does not answer",
            "tenants[].logins.granted": "logins admitted",
            "tenants[].logins.refused": "logins refused, for whatever reason",
            "tenants[].logins.over_source": "of those, refused unread: too many wrong from one address",
            "tenants[].logins.over_account": "for one account, from all strangers",
            "tenants[].logins.over_accounts": "too many accounts tried in a minute",
            "tenants[].logins.over_gate": "through one gate",
            "tenants[].logins.over_network": "from one network",
            "tenants[].logins.delayed": "before the wait of its network was over",
            "tenants[].logins.failing": "accounts that strangers fail for, this minute",
            "tenants[].logins.rule_stops": "networks that a rule stopped at a gate (docs/containment.md, Rules)",
            "tenants[].logins.stuffing": "whether that is over its ceiling, in this minute or the last",
            "tenants[].logins.episodes": "how often that began",
            "tenants[].logins.failure_ms": "when a failed login is answered, ms after it came",
            "tenants[].logins.failure_floor_ms": "what imported digests ask for at least; 0 without any",
            "processes": "one object a process",
            "processes[].tenant": "the tenant's id",
            "processes[].compartment": "the compartment; `supervisor`, `image-front`, `image-vault`",
            "processes[].worker": "its number within the compartment",
            "processes[].incarnation": "how many times a process with that number was forked",
            "processes[].pid": "its pid, 0 while it is down",
            "processes[].uid": "the user id it runs as",
            "processes[].state": "`started`, or where its start has come to",
            "processes[].level": "the sandbox level that the probes showed, or null where nothing is locked",
            "processes[].missing": "what keeps it from level A: mechanisms and acts, a list",
            "processes[].memory_bytes": "PSS, or null where it could not be read",
            "processes[].restarts": "how often it was started again",
            "processes[].twin": "whether it is a twin of the drill",
            "processes[].connections": "of a gate's worker, as it says: open connections; null for others",
            "processes[].sessions": "its sessions now",
            "processes[].sessions_begun": "sessions that it has begun",
            "processes[].accepting": "whether it takes new connections",
            "processes[].retiring": "whether it ends with its last session",
        },
        text="Memory is PSS from /proc/PID/smaps_rollup, which only root may read of locked processes.",
    ),
    Command(
        ("stop",), "Stop the logins, the live sessions or the outbound mail of one tenant, at once.",
        "bulkhead.cli.stop:stop",
        (
            TENANT,
            flag("--logins", "Refuse every login from now on."),
            flag("--sessions", "End every live session."),
            flag("--outbound", "Hold outbound mail in queue, and at keyring, which opens none."),
            flag("--lift", "Admit logins again; with --outbound let outbound mail leave again."),
            REASON,
        ),
        exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "epoch": "the new epoch, ms since 1970; epochs only go up",
            "lifted": "whether a stop was taken back",
            "sessions_ended": "how many sessions ended",
            "effects": "one object a compartment",
            "effects[].compartment": "`auth`, `keyring` or `queue`",
            "effects[].done": "whether it took effect there",
            "effects[].milliseconds": "from the moment the command was understood until it was durable there",
            "effects[].error": "why not, or null",
        },
        text="Works while the ledger is down: the stop is durable in auth and keyring before the command answers, and "
        "reaches the ledger afterwards. One of the two is enough to keep everybody out; outbound mail is held by "
        "queue and by keyring, and either is enough.",
    ),
    *CONTAIN_COMMANDS,
    Command(
        ("metrics",), "Print what the cells count, in the text format of Prometheus.", "bulkhead.cli.metrics:metrics",
        (
            _MAYBE_TENANT,
            _ALL,
            option("--file", "FILE", "Write them there, whole or not at all, for node_exporter's textfile collector.",
                   default=""),
            option("--each", "DIR", "Write DIR/TENANT.prom for each tenant, so that a partner is given its own alone.",
                   default=""),
        ),
        exits=(ExitCode.FINDING, *LIVE),
        text="docs/metrics.md lists every metric. Exits with 1 where a compartment did not answer: "
        "`bulkhead_scrape_answered` says which. No label holds an account or an address.",
    ),
    Command(
        ("fsck",), "Check everything that a cell keeps, while it runs.", "bulkhead.cli.fsck:fsck",
        (_MAYBE_TENANT, _ALL, flag("--deep", "Read every stored part too.")),
        exits=(ExitCode.FINDING, *LIVE, ExitCode.INTEGRITY),
        json_keys={
            "sound": "whether nothing was found",
            "checks": "one object a compartment and tenant",
            "checks[].tenant": "the tenant's id",
            "checks[].compartment": "the compartment; `cell` where none of them runs",
            "checks[].examined": "records, messages or entries examined",
            "checks[].problems": "findings in words, a list",
            "checks[].error": "why it could not be checked, or null",
        },
    ),
    Command(
        ("doctor",), "Look for what will go wrong, and say what to do.", "bulkhead.cli.doctor:doctor",
        exits=(ExitCode.FINDING,),
        json_keys={
            "findings": "one object a matter looked at",
            "findings[].tenant": "the tenant's id, or empty for the installation",
            "findings[].matter": "what was looked at",
            "findings[].state": "`ok`, `warning`, `bad` or `unproven`",
            "findings[].text": "what was found",
            "findings[].advice": "what to do, or empty",
        },
    ),
    Command(
        ("exposure",), "How many accounts what is held here touches, by status, item and protection.",
        "bulkhead.cli.exposure:exposure", (_MAYBE_TENANT, _ALL), exits=(ExitCode.FINDING, *LIVE),
        json_keys={
            "as_of": "when it was counted, ms since 1970",
            "complete": "whether every tenant and compartment asked has answered",
            "rows": "one object a tenant, item, status and scheme",
            "rows[].tenant": "the tenant's id",
            "rows[].item": "`address`, `password verifier`, `mailbox key`, `stored mail`, `queued recipient` or "
            "`queued mail`",
            "rows[].status": "the accounts' or records' status; `-` where it is not told apart",
            "rows[].scheme": "how it is kept",
            "rows[].count": "how many",
            "rows[].held_by": "the compartment that holds it",
            "rows[].protection": "what stands between a thief of that compartment's files and the item",
            "unanswered": "tenant/compartment pairs that did not answer, a list; `cell` where none of them runs",
        },
        text="A ceiling: what a thief of everything that one compartment holds would have, at the time of asking.",
    ),
)  # fmt: skip

_FILES = (
    Command(
        ("config", "check"), "Read every setting and file that the settings name.", "bulkhead.cli.config:check",
        text="Every fault is named with file, line, setting and what is allowed.",
    ),
    Command(
        ("config", "show"), "Print every setting in force.", "bulkhead.cli.config:show",
        (
            flag("--origin", "Say for each where it comes from."),
            option("--tenant", "ID", "Only this tenant's.", default=""),
        ),
        json_keys={
            "settings": "one object a setting",
            "settings[].tenant": "the tenant's id, or empty for bulkhead.toml",
            "settings[].setting": "its dotted name",
            "settings[].value": "its value",
            "settings[].origin": "file and line, or `default`",
        },
    ),
    Command(
        ("tenant", "list"), "List the tenants.", "bulkhead.cli.tenant:list_tenants",
        json_keys={
            "tenants": "one object a tenant",
            "tenants[].tenant": "the tenant's id",
            "tenants[].slot": "its number",
            "tenants[].name": "its name as people know it",
            "tenants[].address": "the address of its listeners",
            "tenants[].disabled": "whether `run` leaves it stopped",
            "tenants[].names": "host names of its gates, a list",
        },
    ),
    Command(
        ("tenant", "add"), "Make a tenant: settings, certificates, keys, its first domain.",
        "bulkhead.cli.tenant:add_tenant",
        (
            positional("tenant", "The new tenant's id, for ever."),
            option("--domain", "NAME", "Its first domain; its host names are mx., smtp., imap. of it.", required=True),
            option("--address", "IP", "The address of its listeners; no other tenant's.", required=True),
            option("--name", "TEXT", "Its name as people know it.", default=""),
            Argument(
                ("--roster-root",),
                "A key that signs rosters, as `officer enrol` of a root prints it; at least one of each of both.",
                {"metavar": "ROOT", "action": "append", "default": []},
            ),
            option("--roster-threshold", "N", "How many roots of each of the two sign a roster (default 1).", type=int,
                   default=1),
        ),
        text="A running installation starts the cell when it gets SIGHUP.",
    ),
)  # fmt: skip

_MAIL = (
    Command(
        ("queue", "list"), "List the messages that wait, oldest first.", "bulkhead.cli.queue:list_queue",
        tenant_between=True, exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "messages": "one object a message",
            "messages[].queue_id": "its id",
            "messages[].reverse_path": "who gets the bounce; empty: nobody",
            "messages[].recipients": "how many recipients are left",
            "messages[].size": "its octets",
            "messages[].enqueued": "since when it waits, ms since 1970",
            "messages[].attempts": "how often it was tried",
            "messages[].next_due": "when it is tried next, ms since 1970",
            "messages[].last_error": "what the last attempt met",
            "messages[].state": "what it waits for",
        },
    ),
    Command(
        ("queue", "retry"), "Try every message that waits again, now.", "bulkhead.cli.queue:retry",
        tenant_between=True, exits=LIVE,
    ),
)  # fmt: skip

_DEMO = (
    Command(
        ("demo",), "Make the example of six tenants where it is missing, run it and exchange mail.",
        "bulkhead.cli.demo:demo",
        (flag("--fresh", "Remove an earlier demonstration in that directory and make a new one."),),
        exits=LIVE,
        text="Prints what runs where, one login, settings for mail clients and what to try next; runs until Ctrl-C. "
        "Mail is exchanged only when the demonstration is made. docs/demo.md says more.",
    ),
    Command(
        ("demo", "breach"), "Break into one compartment of one tenant, and show what stays shut.",
        "bulkhead.cli.demo:breach",
        (
            positional("target", "TENANT/COMPARTMENT (default: stnet/access).", nargs="?", default="stnet/access"),
            option("--json", "FILE", "Write the figures as one JSON document; - is standard output.", default=""),
            option("--svg", "FILE", "Write them as a picture.", default=""),
            flag("--lift", "Admit the tenant's logins again at the end; without it the command to do so is printed."),
        ),
        exits=(ExitCode.FINDING, *LIVE),
        text="Needs a running demonstration: it stops the logins and sessions of one tenant. The document is "
        "`bulkhead/demo-breach/1`, explained in docs/demo.md.",
    ),
)  # fmt: skip

_DRILL = (
    Command(
        ("drill",), "Break into every compartment of a scratch installation, and count what each one reaches.",
        "bulkhead.cli.drill:drill",
        (
            option("--rows", "A,B", "Only these: compartments, probes or compartment/probe, with * and ?.", default=""),
            option("--budget", "FILE", "What is accepted, and why (default: the one that is shipped).", default=""),
            Argument(
                ("--json",), "Write the result as one JSON document; without FILE to standard output.",
                {"metavar": "FILE", "nargs": "?", "const": "-", "default": ""},
            ),
            option("--compare", "FILE", "Say what changed since that JSON document.", default=""),
            option("--svg", "FILE", "Write the matrix as a picture.", default=""),
            option("--html", "FILE", "Write it as a page, with the reasons of the budget.", default=""),
            option("--record", "DIR", "Put the result into the ledgers of that running installation too.", default=""),
            flag("--all", "The slow probes too."),
            option("--live", "DIR", "In that running installation, on canaries, instead of a scratch one.", default=""),
            option("--tenant", "ID", "With --live: whose cell; needed where there are several.", default=""),
            flag("--yes", "With --live: do not ask."),
            flag("--clean", "With --live: only take away what a drill that was killed left there."),
            flag("--quiet", "Do not say what is being done."),
        ),
        in_installation=False, exits=(ExitCode.FINDING, *LIVE),
        text="Makes an installation of six tenants in a temporary directory, on loopback addresses and user ids of its "
        "own, and removes it at the end; no other installation is touched but with --live. Exits with 1 when a "
        "number is over the budget. The document is `bulkhead/drill/1`, explained in docs/drill.md.",
    ),
)  # fmt: skip

COMMANDS: tuple[Command, ...] = (
    *_INSTALLATION,
    *_FILES,
    *DIRECTORY_COMMANDS,
    *ROUTES_COMMANDS,
    *PROVISION_COMMANDS,
    *BINDINGS_COMMANDS,
    *CREDENTIALS_COMMANDS,
    *APP_PASSWORD_COMMANDS,
    *INCIDENT_COMMANDS,
    *AUDIT_COMMANDS,
    *CONTRACT_COMMANDS,
    PARTNER_CONTRACT,
    *INVENTORY_COMMANDS,
    *BACKUP_COMMANDS,
    *OFFICER_COMMANDS,
    *RESTORE_COMMANDS,
    *STANDBY_COMMANDS,
    *SUPPORT_COMMANDS,
    *_MAIL,
    *LEDGER_COMMANDS,
    *EXPORT_COMMANDS,
    *IMPORT_COMMANDS,
    *_DEMO,
    *_DRILL,
)
