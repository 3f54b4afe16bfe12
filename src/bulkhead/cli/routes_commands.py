"""The rows of the tree for aliases, groups, forwards, services and classes. Standard library only."""

from bulkhead.cli.tree import ADDRESS, LIVE, REASON, TENANT, Argument, Command, flag, option, positional

_ALIAS = positional("alias", "The other address.")
_GROUP = positional("group", "The group's address.")
_SERVICES = ("login", "receive", "send")
_OFF = Argument(
    ("--off",), "A service to switch off: login, receive or send; may be repeated.",
    {"action": "append", "choices": _SERVICES},
)  # fmt: skip
_ON = Argument(("--on",), "A service to switch on again; may be repeated.", {"action": "append", "choices": _SERVICES})
_ACCOUNT_KEYS = {
    "tenant": "the tenant's id",
    "accounts": "one object an account",
    "accounts[].account": "its id",
    "accounts[].address": "its address",
    "accounts[].status": "its status",
    "accounts[].quota_bytes": "its quota, counted in RFC822.SIZE",
    "accounts[].created": "when it was made, ms since 1970",
    "accounts[].off": "services that are switched off: `login`, `receive`, `send`",
    "accounts[].class": "its class of service, or empty",
}

ROUTES_COMMANDS = (
    Command(
        ("account", "alias"), "Give an account another address: mail reaches it, and it may send under it.",
        "bulkhead.cli.routes:add_alias", (TENANT, ADDRESS, _ALIAS), exits=LIVE,
        text="Nobody logs in by an alias. It belongs to its account for ever, also when it is taken back.",
    ),
    Command(
        ("account", "unalias"), "Take an alias back: it reaches nobody, and is given to nobody else.",
        "bulkhead.cli.routes:remove_alias", (TENANT, _ALIAS), exits=LIVE,
    ),
    Command(
        ("account", "forward"), "Have an account's mail go on to other accounts or to other servers, or no more.",
        "bulkhead.cli.routes:forward",
        (
            TENANT, ADDRESS,
            positional("target", "Addresses, 20 at most.", nargs="*"),
            flag("--no-copy", "Keep no copy. What no target takes stays all the same."),
            flag("--none", "Forward no more."),
        ),
        exits=LIVE,
        text="It is in the ledger before it takes effect. A target's own forwards are not followed. Addresses at "
        "other servers are refused unless `directory.forwards_elsewhere_max` and the account's class allow some. Ask "
        "the subscriber first; docs/directory.md says what a forward does to mail.",
    ),
    Command(
        ("account", "routes"), "Show by which addresses mail reaches an account, and where it goes on to.",
        "bulkhead.cli.routes:routes", (TENANT, ADDRESS), exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "address": "the account's own address",
            "aliases": "its other addresses",
            "retired": "aliases that were taken back, and stay reserved",
            "groups": "the groups it is in, 100 at most",
            "forwards": "where its mail goes on to",
            "keeps_copy": "whether a copy of that stays",
        },
    ),
    Command(
        ("account", "services"), "Switch login, receiving or sending of an account off or on.",
        "bulkhead.cli.routes:services", (TENANT, ADDRESS, _OFF, _ON, REASON), exits=LIVE,
        text="With login, live sessions end, and both halves of its credentials refuse. Without receiving, mail is "
        "refused with 550 5.2.1.",
    ),
    Command(
        ("account", "quota"), "Set how much an account may keep.", "bulkhead.cli.routes:quota",
        (TENANT, ADDRESS, positional("octets", "Counted in RFC822.SIZE; 0 is no limit.", type=int)), exits=LIVE,
    ),
    Command(
        ("account", "class"), "Give an account a class of service: quota and switches follow.",
        "bulkhead.cli.routes:set_class", (TENANT, ADDRESS, positional("name", "The class.")), exits=LIVE,
    ),
    Command(
        ("account", "search"), "List accounts whose own address begins so.", "bulkhead.cli.routes:search",
        (
            TENANT, positional("prefix", "How it begins."),
            option("--after", "ADDRESS", "Go on behind this one.", default=""),
            option("--limit", "N", "How many, 100 at most (default 100).", type=int, default=100),
        ),
        exits=LIVE, json_keys=_ACCOUNT_KEYS,
    ),
    Command(("group", "add"), "Make an address that reaches several accounts.", "bulkhead.cli.routes:add_group",
            (TENANT, _GROUP), exits=LIVE,
            text="At most 100 members, so that one delivery reaches all of them or none."),
    Command(("group", "remove"), "Remove a group; its address is given to nobody again.",
            "bulkhead.cli.routes:remove_group", (TENANT, _GROUP), exits=LIVE),
    Command(("group", "join"), "Put an account into a group.", "bulkhead.cli.routes:join", (TENANT, _GROUP, ADDRESS),
            exits=LIVE),
    Command(("group", "leave"), "Take an account out of a group.", "bulkhead.cli.routes:leave",
            (TENANT, _GROUP, ADDRESS), exits=LIVE),
    Command(
        ("group", "list"), "List the groups.", "bulkhead.cli.routes:list_groups", (TENANT,), exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "groups": "one object a group",
            "groups[].group": "its address",
            "groups[].members": "how many accounts it reaches",
            "groups[].created": "when it was made, ms since 1970",
        },
    ),
    Command(
        ("group", "show"), "List a group's members.", "bulkhead.cli.routes:show_group", (TENANT, _GROUP), exits=LIVE,
        json_keys={"tenant": "the tenant's id", "group": "its address", "members": "addresses of its members"},
    ),
    Command(
        ("class", "define"), "Make a class of service, or change it.", "bulkhead.cli.routes:define_class",
        (
            TENANT, positional("name", "1 to 32 of a-z, 0-9 and dash."),
            option("--quota-bytes", "N", "The mailbox's size; 0 is no limit (default 1 GiB).", type=int,
                   default=1 << 30),
            _OFF,
            option("--aliases", "N", "How many aliases at most (default 20).", type=int, default=20),
            option("--forwards", "N", "To how many addresses it may forward (default 5).", type=int, default=5),
            option(
                "--forwards-elsewhere", "N", "How many of them may be at other servers (default: as many as "
                "`directory.forwards_elsewhere_max` says).", type=int, default=20,
            ),
        ),
        exits=LIVE,
    ),
    Command(
        ("class", "list"), "List the classes of service.", "bulkhead.cli.routes:list_classes", (TENANT,), exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "classes": "one object a class",
            "classes[].name": "its name",
            "classes[].quota_bytes": "the mailbox's size; 0 is no limit",
            "classes[].off": "services that are off",
            "classes[].aliases": "how many aliases at most",
            "classes[].forwards": "to how many addresses at most",
            "classes[].forwards_elsewhere": "how many of them at other servers, if the tenant's settings allow as many",
            "classes[].accounts": "how many accounts have it",
        },
    ),
)  # fmt: skip
