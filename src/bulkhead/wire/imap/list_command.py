"""LIST, plain and extended, and LSUB (RFC 3501 section 6.3.8; RFC 5258 section 6).

STATUS among the return options is LIST-STATUS (RFC 5819); SPECIAL-USE on both sides is of RFC 6154 section 2.
"""

from typing import Final

from bulkhead.wire.imap.commands import ListMailboxes, ListReturn, ListSubscribed, Selection
from bulkhead.wire.imap.grammar import CommandError, Scanner
from bulkhead.wire.imap.limits import LIST_PATTERNS_MAX, NAME_MAX
from bulkhead.wire.imap.mailbox_name import parse_list_pattern
from bulkhead.wire.imap.status import StatusItem, parse_status_items

_SELECTIONS: Final = {option.value: option for option in Selection}
_RETURNS: Final = {option.value: option for option in ListReturn}


def parse_list(scanner: Scanner) -> ListMailboxes:
    """LIST from after its name. Raises CommandError (BAD) on any option that is not known (RFC 5258 section 3)."""
    scanner.space()
    selection, extended = _selection(scanner)
    reference = scanner.astring("a reference name", maximum=NAME_MAX)
    scanner.space()
    patterns: tuple[str, ...]
    if scanner.accept(b"("):
        patterns, extended = _patterns(scanner), True
    else:
        patterns = (_pattern(scanner),)
    returns: set[ListReturn] = set()
    status: dict[StatusItem, None] = {}
    if scanner.accept(b" "):
        extended = True
        if scanner.word("RETURN and a list of options") != b"RETURN":
            raise CommandError("expected RETURN and a list of options")
        scanner.space()
        scanner.expect(b"(", "a list of return options")
        while not scanner.accept(b")"):
            if returns or status:
                scanner.space()
            _return_option(scanner, returns, status)
    decoded = parse_list_pattern(reference, utf8=scanner.utf8_names)
    return ListMailboxes(decoded, patterns, extended, frozenset(selection), frozenset(returns), tuple(status))


def _selection(scanner: Scanner) -> tuple[set[Selection], bool]:
    """The selection options and whether there was a list of them."""
    selection: set[Selection] = set()
    if not scanner.accept(b"("):
        return selection, False
    while not scanner.accept(b")"):
        if selection:
            scanner.space()
        option = _SELECTIONS.get(scanner.word("a selection option"))
        if option is None:
            raise CommandError("no such selection option")
        selection.add(option)
    if Selection.RECURSIVEMATCH in selection and Selection.SUBSCRIBED not in selection:  # RFC 5258 section 3.1
        raise CommandError("RECURSIVEMATCH needs an option such as SUBSCRIBED beside it")
    scanner.space()
    return selection, True


def _return_option(scanner: Scanner, returns: set[ListReturn], status: dict[StatusItem, None]) -> None:
    name = scanner.word("a return option")
    if name == b"STATUS":
        scanner.space()
        status.update(dict.fromkeys(parse_status_items(scanner)))
        return
    option = _RETURNS.get(name)
    if option is None:
        raise CommandError("no such return option")
    returns.add(option)


def _patterns(scanner: Scanner) -> tuple[str, ...]:
    patterns = [_pattern(scanner)]
    while not scanner.accept(b")"):
        scanner.space()
        if len(patterns) >= LIST_PATTERNS_MAX:
            raise CommandError(f"LIST takes at most {LIST_PATTERNS_MAX} patterns")
        patterns.append(_pattern(scanner))
    return tuple(patterns)


def _pattern(scanner: Scanner) -> str:
    return parse_list_pattern(scanner.list_mailbox(maximum=NAME_MAX), utf8=scanner.utf8_names)


def parse_lsub(scanner: Scanner) -> ListSubscribed:
    """LSUB from after its name: no options (RFC 3501 section 6.3.9)."""
    scanner.space()
    reference = scanner.astring("a reference name", maximum=NAME_MAX)
    scanner.space()
    return ListSubscribed(parse_list_pattern(reference, utf8=scanner.utf8_names), _pattern(scanner))
