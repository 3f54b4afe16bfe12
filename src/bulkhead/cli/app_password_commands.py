"""The rows of the tree for app passwords. Standard library only."""

from bulkhead.cli.tree import ADDRESS, LIVE, TENANT, Command, flag, option, positional

_WHOSE = {"tenant": "the tenant's id", "address": "the account's address"}

APP_PASSWORD_COMMANDS = (
    Command(
        ("app-password", "add"), "Make a password for one device and some services; shown once.",
        "bulkhead.cli.app_password:add",
        (
            TENANT,
            ADDRESS,
            option("--services", "NAMES", "Some of imap, pop, submit, sieve, jmap, with commas between.",
                   default="imap,submit"),
            option("--label", "TEXT", "What it is for, as the list shows it; sealed at rest.", default=""),
            flag("--password-stdin", "Take the main password from the first line of standard input."),
        ),
        exits=LIVE,
        text="Asks for the account's main password, which keyring checks and counts as it does at a login. The main "
        "password cannot allow a service that it is not for itself. An account has at most 32.",
        json_keys={**_WHOSE, "number": "its number within the account", "password": "it, shown only here"},
    ),
    Command(
        ("app-password", "list"), "List the app passwords of an account.", "bulkhead.cli.app_password:list_all",
        (TENANT, ADDRESS), exits=LIVE,
        json_keys={
            **_WHOSE,
            "app_passwords": "one object each, the oldest first",
            "app_passwords[].number": "its number within the account, given once",
            "app_passwords[].label": "what it is for",
            "app_passwords[].services": "what it logs in to",
            "app_passwords[].created": "when it was made, ms since 1970",
            "app_passwords[].used": "when it was used last, to the hour, ms since 1970, or null",
            "app_passwords[].network": "from which network then (IPv4 /24, IPv6 /48), or null",
            "app_passwords[].ended": "whether it opens nothing since the mailbox key was renewed: make another",
        },
    ),
    Command(
        ("app-password", "revoke"), "Revoke one app password of an account, or all; their sessions end.",
        "bulkhead.cli.app_password:revoke",
        (
            TENANT,
            ADDRESS,
            positional("number", "Its number, as the list shows it.", nargs="?", type=int),
            flag("--all", "Every one of the account."),
        ),
        exits=LIVE,
        json_keys={**_WHOSE, "revoked": "how many there were"},
    ),
)  # fmt: skip
