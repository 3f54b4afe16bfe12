"""The rows of the tree for domains and accounts. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import ADDRESS, LIVE, REASON, TENANT, Command, flag, option, positional

DIRECTORY_COMMANDS = (
    Command(
        ("domain", "list"), "List the domains that a tenant hosts.", "bulkhead.cli.domain:list_domains", (TENANT,),
        exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "domains": "one object a domain",
            "domains[].domain": "its name",
            "domains[].accounts": "how many addresses it has",
            "domains[].created": "since when it is hosted, ms since 1970",
        },
    ),
    Command(
        ("domain", "add"), "Host a domain.", "bulkhead.cli.domain:add_domain",
        (TENANT, positional("domain", "Its name.")), exits=LIVE,
    ),
    Command(
        ("domain", "remove"), "Host a domain no more; no address may be left in it.",
        "bulkhead.cli.domain:remove_domain", (TENANT, positional("domain", "Its name.")), exits=LIVE,
        text="Its accounts are cancelled and purged first, its groups removed. Their addresses stay refused for ever, "
        "also when the domain comes back.",
    ),
    Command(
        ("account", "list"), "List accounts in the order of their addresses.", "bulkhead.cli.account:list_accounts",
        (TENANT, option("--domain", "NAME", "Only those of this domain.", default="")), exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "accounts": "one object an account",
            "accounts[].account": "its id",
            "accounts[].address": "its address",
            "accounts[].status": "its status",
            "accounts[].quota_bytes": "its quota, counted in RFC822.SIZE",
            "accounts[].created": "when it was made, ms since 1970",
            "accounts[].off": "services that are switched off: `login`, `receive`, `send`",
            "accounts[].class": "its class of service, or empty",
        },
    ),
    Command(
        ("account", "show"), "Show one account.", "bulkhead.cli.account:show", (TENANT, ADDRESS), exits=LIVE,
        json_keys={
            "tenant": "the tenant's id",
            "account": "its id",
            "address": "its address",
            "status": "its status",
            "quota_bytes": "its quota, counted in RFC822.SIZE",
            "created": "when it was made, ms since 1970",
            "off": "services that are switched off: `login`, `receive`, `send`",
            "class": "its class of service, or empty",
        },
    ),
    Command(
        ("account", "add"), "Make an account with a mailbox and a password.", "bulkhead.cli.account:add",
        (
            TENANT,
            positional("address", "The new address.", nargs="?"),
            flag("--password-stdin", "Take the password from the first line of standard input."),
            option("--from-file", "FILE", "Many accounts, one a line: JSON objects or `address,password`; - is "
                   "standard input.", default=""),
            option("--quota-bytes", "N", "The mailbox's size (default: directory.default_quota_bytes).", type=int),
        ),
        exits=(ExitCode.FINDING, *LIVE),
        text="A password never stands on the command line; on a terminal it is asked for. A line of a file is "
        '`{"address": "a@b.example", "password": "...", "quota_bytes": 1073741824}` or `address,password`, at most '
        "4,096 octets; a line that fails is named and the others go on. Run again, it finishes what was begun, and "
        "leaves the accounts of a file that are there as they are.",
    ),
    Command(
        ("account", "import"), "Import the accounts of another server: clear text or digests.",
        "bulkhead.cli.import_accounts:import_accounts",
        (
            TENANT,
            positional("file", "The export; it stays as it is."),
            option("--dialect", "NAME", "auto, csv, json, dovecot, postfixadmin, modoboa, wildduck or zimbra (default: "
                   "auto, by the first line).", default="auto",
                   choices=("auto", "csv", "json", "dovecot", "postfixadmin", "modoboa", "wildduck", "zimbra")),
            flag("--check", "Read and count only; no cell needs to run, and nothing is written."),
            option("--state", "FILE", "How far it has come (default: FILE.state).", default=""),
            option("--errors", "FILE", "Lines that were not imported, by number, and why (default: FILE.errors).",
                   default=""),
        ),
        exits=(ExitCode.FINDING, *LIVE),
        text="Run again, it goes on where it was cut off. No password or digest is written anywhere as it came. "
        "See docs/import.md.",
        json_keys={
            "tenant": "the tenant's id",
            "dialect": "as what the file was read; empty where its end was not reached by this run",
            "checked": "true with --check",
            "schemes": "what this run took on, by scheme",
            "schemes[].scheme": "the scheme's name in records; `plain` is clear text",
            "schemes[].accounts": "how many accounts",
            "complete": "whether every line is done",
            "imported": "accounts imported, by all runs",
            "refused": "lines refused, by all runs",
            "noted": "accounts imported without something that the line had",
            "left": "lines that another run will try again",
            "seconds": "how long this run took",
        },
    ),
    Command(
        ("account", "suspend"), "Stop an account's logins, sending and receiving; nothing is lost.",
        "bulkhead.cli.account:suspend", (TENANT, ADDRESS, REASON), exits=LIVE,
    ),
    Command(
        ("account", "dormant"), "As suspend, for an account that nobody has used for long.",
        "bulkhead.cli.account:make_dormant", (TENANT, ADDRESS, REASON), exits=LIVE,
    ),
    Command(
        ("account", "activate"), "Let a suspended or dormant account work again.", "bulkhead.cli.account:activate",
        (TENANT, ADDRESS, REASON), exits=LIVE,
    ),
    Command(
        ("account", "cancel"), "Destroy an account for ever: verifier, mailbox key and mail.",
        "bulkhead.cli.oblivion:cancel",
        (
            TENANT, ADDRESS, REASON,
            option("--receipt", "FILE", "Where the former subscriber's copy of the receipt goes (default: receipts/).",
                   default=""),
        ),
        exits=(*LIVE, ExitCode.INTEGRITY),
        text="The keyring's half goes first, so that whatever fails later, nothing can be read any more. The address "
        "is never given to another person. Cut off anywhere, it goes on when given again. The receipt proves from the "
        "ledger what was destroyed when, and until when older copies can be read: docs/lifecycle.md.",
        json_keys={
            "tenant": "the tenant's id",
            "account": "its id",
            "address": "its address",
            "sessions_ended": "live sessions that ended",
            "queued_destroyed": "messages of it that had not left, and are destroyed",
            "destroyed": "what was destroyed, in order",
            "time": "when all of it was durable, ms since 1970",
            "receipt": "the file with the receipt",
        },
    ),
    Command(
        ("account", "purge"), "Forget a cancelled account's address, but for a digest by which it stays refused.",
        "bulkhead.cli.account:purge", (TENANT, ADDRESS, REASON), exits=LIVE,
    ),
    Command(
        ("receipt", "verify"), "Check the receipt of a cancelled account; needs no installation.",
        "bulkhead.cli.oblivion:verify",
        (
            positional("file", "The receipt."),
            option("--key", "KEY", "The public key of the tenant's log, as the tenant publishes it: "
                   "name+id+base64.", required=True),
            option("--address", "ADDRESS", "Check that it is the receipt of this address.", default=""),
        ),
        in_installation=False, exits=(ExitCode.INTEGRITY,),
        json_keys={
            "tenant": "the tenant's id",
            "subject": "the account as the log names it, hex",
            "time": "when all of it was durable, ms since 1970",
            "address": "whose it is, or null in a copy that does not show it",
            "destroyed": "one object a step, in order",
            "destroyed[].what": "what was destroyed",
            "destroyed[].time": "when, ms since 1970",
            "first_version": "oldest version of keyring's key that copies may lie under",
            "last_version": "newest of them",
            "copies_destroyed": "whether all of them are destroyed",
            "copies_until": "when they are to be destroyed, ms since 1970; 0: no date is set, or it is done",
            "log": "the log's name",
            "size": "entries of the log below which it is proven",
        },
    ),
    Command(
        ("receipt", "renew"), "Write a receipt again, with what became of the key that older copies lie under.",
        "bulkhead.cli.oblivion:renew",
        (
            TENANT,
            positional("file", "The receipt: the subscriber's copy, or the one in receipts/."),
            option("--to", "FILE", "Where the new one goes (default: in the place of the old one).", default=""),
        ),
        exits=(*LIVE, ExitCode.INTEGRITY),
    ),
    Command(
        ("account", "passwd"), "Set a new password, with both recovery keys or the old password; no mail is lost.",
        "bulkhead.cli.account:passwd",
        (
            TENANT,
            ADDRESS,
            flag("--password-stdin", "Take the password from the first line of standard input."),
            flag("--change", "By the old password and no recovery key; with --password-stdin it is the first line, "
                 "the new one the second. Only sessions of the old password end."),
            option("--partner-key", "FILE", "The partner's recovery key (default: recovery/TENANT/partner.key).",
                   default=""),
            option("--operator-key", "FILE", "The operator's recovery key (default: recovery/TENANT/operator.key).",
                   default=""),
        ),
        exits=(*LIVE, ExitCode.INTEGRITY),
    ),
)  # fmt: skip
