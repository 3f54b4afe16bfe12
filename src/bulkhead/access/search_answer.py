"""What SEARCH and SORT answer: plain, or as ESEARCH; and `$`, the result that a session keeps.

Source: RFC 4731 section 3, RFC 5182 section 2, RFC 5267 section 3, RFC 9394 section 3.
"""

from array import array
from collections.abc import Sequence
from dataclasses import replace

from bulkhead.access.output import Output
from bulkhead.access.selected import Selected
from bulkhead.wire.imap import commands as c
from bulkhead.wire.imap import responses
from bulkhead.wire.imap.search import And, Not, Numbers, Or, SearchKey, SearchProgram, Uids
from bulkhead.wire.imap.search_plan import asks_modseq
from bulkhead.wire.imap.search_returns import ReturnOption, Returns
from bulkhead.wire.imap.sequence import SequenceSet, compress, in_order

SLICE = 1000  # messages handled between two pauses


async def answer(tag: bytes, command: c.Search | c.Sort, selected: Selected, places: list[int], output: Output) -> None:
    """Send the result: `places` as found, ascending for SEARCH, in the order asked for by SORT."""
    numbers: list[int] = []
    for start in range(0, len(places), SLICE):
        part = places[start : start + SLICE]
        numbers += [selected.uids[at] for at in part] if command.uid else [at + 1 for at in part]
        await output.breathe()
    returns = command.program.returns
    highest = _highest(command, selected, places)
    sorts = isinstance(command, c.Sort)
    if returns is None:
        await _plain(b"SORT" if sorts else b"SEARCH", numbers, highest, output)
    elif returns.told:
        values: dict[ReturnOption, bytes] = {}
        if ReturnOption.MIN in returns.told and numbers:
            values[ReturnOption.MIN] = b"%d" % numbers[0]
        if ReturnOption.MAX in returns.told and numbers:
            values[ReturnOption.MAX] = b"%d" % numbers[-1]
        if ReturnOption.COUNT in returns.told:
            values[ReturnOption.COUNT] = b"%d" % len(numbers)
        if ReturnOption.ALL in returns.told and numbers:
            values[ReturnOption.ALL] = await _set(numbers, output, ordered=sorts)
        if returns.window is not None:
            window = returns.window.of(len(numbers))
            named = await _set(numbers[window.start : window.stop], output, ordered=sorts)
            values[ReturnOption.PARTIAL] = b"(%s %s)" % (bytes(returns.window), named or b"NIL")
        output.send(responses.esearch_line(tag, values, uid=command.uid, modseq=highest))


async def _plain(name: bytes, numbers: Sequence[int], highest: int, output: Output) -> None:
    line = [b"* " + name]
    for start in range(0, len(numbers), SLICE):
        line += [b" %d" % number for number in numbers[start : start + SLICE]]
        await output.breathe()
    if highest:
        line.append(b" (MODSEQ %d)" % highest)
    output.send(b"".join(line) + b"\r\n")


async def _set(numbers: Sequence[int], output: Output, *, ordered: bool) -> bytes:
    """The numbers as a sequence set; `ordered`: in this order, in which their place tells something."""
    parts = []
    for start in range(0, len(numbers), SLICE):
        part = numbers[start : start + SLICE]
        parts.append(in_order(part) if ordered else compress(part))
        await output.breathe()
    return b",".join(parts)


def _highest(command: c.Search | c.Sort, selected: Selected, places: list[int]) -> int:
    """The highest MODSEQ of what the answer names, where the program asks; else 0 (RFC 4731 section 3.2)."""
    if not places or not asks_modseq(command.program.key):
        return 0
    returns = command.program.returns
    named = places if returns is None else [places[at] for at in returns.named(len(places))]
    return max((selected.modseq_at(at) for at in named), default=0)


async def save(returns: Returns, selected: Selected, places: list[int], output: Output) -> None:
    """Keep as `$` what RETURN names of the result."""
    named = returns.named(len(places))
    uids = array("I")
    for start in range(0, len(named), SLICE):
        uids.extend([selected.uids[places[at]] for at in named[start : start + SLICE]])
        await output.breathe()
    selected.saved = uids


# --- putting `$` in place --------------------------------------------------------------------------------------------


async def with_saved(command: c.Command, selected: Selected, output: Output) -> c.Command:
    """The command with what was saved in place of each `$`; of that, what is in the view still."""
    if not _names_saved(command):
        return command
    runs: list[tuple[int, int]] = []
    for start in range(0, len(selected.saved), SLICE):
        for uid in selected.saved[start : start + SLICE]:
            at = selected.index(uid)
            if at is None:
                continue
            if runs and runs[-1][1] == at:
                runs[-1] = (runs[-1][0], at + 1)
            else:
                runs.append((at, at + 1))
        await output.breathe()
    uids = SequenceSet(tuple((selected.uids[first], selected.uids[stop - 1]) for first, stop in runs))
    match command:
        case c.Fetch() | c.Store() | c.Copy():
            numbers = SequenceSet(tuple((first + 1, stop) for first, stop in runs))
            return replace(command, messages=uids if command.uid else numbers)
        case c.Expunge():
            return replace(command, uids=uids)
        case c.Search() | c.Sort() | c.Thread():
            program = command.program
            return replace(command, program=SearchProgram(_put(program.key, uids), program.returns, program.refused))
        case _:
            return command


def _names_saved(command: c.Command) -> bool:
    match command:
        case c.Fetch() | c.Store() | c.Copy():
            return command.messages.saved
        case c.Expunge():
            return command.uids is not None and command.uids.saved
        case c.Search() | c.Sort() | c.Thread():
            return _has_saved(command.program.key)
        case _:
            return False


def _has_saved(key: SearchKey) -> bool:
    match key:
        case And(keys) | Or(keys):
            return any(map(_has_saved, keys))
        case Not(inner):
            return _has_saved(inner)
        case Numbers(wanted) | Uids(wanted):
            return wanted.saved
        case _:
            return False


def _put(key: SearchKey, uids: SequenceSet) -> SearchKey:
    match key:
        case And(keys):
            return And(tuple(_put(item, uids) for item in keys))
        case Or(keys):
            return Or(tuple(_put(item, uids) for item in keys))
        case Not(inner):
            return Not(_put(inner, uids))
        case Numbers(wanted) | Uids(wanted) if wanted.saved:
            return Uids(uids)
        case _:
            return key
