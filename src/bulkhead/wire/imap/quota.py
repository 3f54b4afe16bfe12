"""QUOTA commands (RFC 9208 section 4.1). The account is the one quota root, and its name is empty."""

from bulkhead.wire.imap import commands as c
from bulkhead.wire.imap.grammar import NUMBER64_MAX, CommandError, Scanner
from bulkhead.wire.imap.limits import NAME_MAX, QUOTA_RESOURCES_MAX
from bulkhead.wire.imap.mailbox_name import parse_mailbox_name


def parse_get_quota(scanner: Scanner) -> c.GetQuota:
    """GETQUOTA from after its name."""
    scanner.space()
    return c.GetQuota(scanner.astring("a quota root", maximum=NAME_MAX))


def parse_get_quota_root(scanner: Scanner) -> c.GetQuotaRoot:
    """GETQUOTAROOT from after its name; the mailbox need not exist."""
    scanner.space()
    octets = scanner.astring("a mailbox name", maximum=NAME_MAX)
    return c.GetQuotaRoot(parse_mailbox_name(octets, utf8=scanner.utf8_names))


def parse_set_quota(scanner: Scanner) -> c.SetQuota:
    """SETQUOTA from after its name: at most 16 resources."""
    scanner.space()
    root = scanner.astring("a quota root", maximum=NAME_MAX)
    scanner.space()
    scanner.expect(b"(", "a list of resources and limits")
    limits: list[tuple[bytes, int]] = []
    while not scanner.accept(b")"):
        if limits:
            scanner.space()
        if len(limits) >= QUOTA_RESOURCES_MAX:
            raise CommandError(f"SETQUOTA takes at most {QUOTA_RESOURCES_MAX} resources")
        name = scanner.word("a resource")
        scanner.space()
        limits.append((name, scanner.number("a limit", maximum=NUMBER64_MAX)))
    return c.SetQuota(root, tuple(limits))
