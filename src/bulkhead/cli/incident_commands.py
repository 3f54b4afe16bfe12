"""The rows of the tree for incidents. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import LIVE, TENANT, Command, option

INCIDENT_COMMANDS = (
    Command(
        ("incident", "plant"), "Plant canaries: accounts that nobody has, whose use names the copy that leaked.",
        "bulkhead.cli.canaries:plant",
        (
            TENANT,
            option("--copy", "NAME", "Where: live (default).", default="live"),
            option("--count", "N", "How many (default 20).", type=int, default=20),
            option("--guessable", "PERCENT", "How many of a hundred get a password from the top of lists (default 50).",
                   type=int, default=50),
        ),
        exits=LIVE,
        text="Names, dates and statuses are drawn from the tenant's own accounts. Nothing prints or keeps which they "
        "are; the compartment incident knows them by keyed hash. docs/canaries.md says what a hit shows.",
    ),
    Command(
        ("incident", "canaries"), "List the copies that have canaries, and every use of one; never which accounts.",
        "bulkhead.cli.canaries:list_canaries", (TENANT,), exits=(ExitCode.FINDING, *LIVE),
        json_keys={
            "tenant": "the tenant's id",
            "copies": "one object a copy",
            "copies[].copy": "`live`, or the id of a backup or an export",
            "copies[].canaries": "how many were planted in it",
            "copies[].since": "when the first was, ms since 1970",
            "copies[].right": "uses with the right password: a stolen copy was cracked",
            "copies[].wrong": "uses with a wrong one: the name was stolen, or guessed",
            "copies[].first": "the first use, ms since 1970; 0: none",
            "copies[].last": "the last use",
            "copies[].networks": "from where, one object a network and grade, the newest 20",
            "copies[].networks[].network": "IPv4 /24 or IPv6 /56; empty: unknown",
            "copies[].networks[].password_right": "whether the password was right",
            "copies[].networks[].first": "first use from there, ms since 1970",
            "copies[].networks[].last": "last use from there",
            "copies[].networks[].count": "how often",
        },
        text="Exits with 1 where a canary was used.",
    ),
)  # fmt: skip
