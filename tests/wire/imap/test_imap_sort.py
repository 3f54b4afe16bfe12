from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.imap.command_table import COMMANDS, UID_COMMANDS
from bulkhead.wire.imap.commands import Sort
from bulkhead.wire.imap.grammar import CommandError, Condition, Scanner
from bulkhead.wire.imap.search import HasField, HasFlag
from bulkhead.wire.imap.search_returns import ReturnOption
from bulkhead.wire.imap.sort import SortField, SortKey, base_subject, order_key, place_of


@pytest.mark.parametrize(
    ("subject", "base", "is_reply"),
    [
        ("", "", False),
        ("Meeting", "Meeting", False),
        ("Re: Meeting", "Meeting", True),
        ("RE: re : Meeting", "Meeting", True),
        ("Fw: Meeting", "Meeting", True),
        ("FWD: Meeting", "Meeting", True),
        ("Fwdx: Meeting", "Fwdx: Meeting", False),
        ("Re [2]: Meeting", "Meeting", True),
        ("Re[2] [3]: Meeting", "Re[2] [3]: Meeting", False),
        ("[list] Meeting", "Meeting", False),
        ("[list] [more] Re: Meeting", "Meeting", True),
        ("[list] Re: [list] Meeting", "Meeting", True),
        ("[list]", "[list]", False),
        ("[a] [b]", "[b]", False),
        ("Re: [a]", "[a]", True),
        ("[a[b]] Meeting", "[a[b]] Meeting", False),
        ("Meeting (fwd)", "Meeting", True),
        ("Meeting (FWD)  (fwd) ", "Meeting", True),
        ("(fwd)", "", True),
        ("[Fwd: Meeting]", "Meeting", True),
        ("[fwd: Re: [x] Meeting (fwd)]", "Meeting", True),
        ("[fwd: [fwd: a]]", "a", True),
        ("[fwd:]", "", True),
        ("Re: [fwd: Meeting] (fwd)", "Meeting", True),
        ("[fwd: Meeting] later", "later", False),
        ("  Meeting \t of\r\n\tten  ", "Meeting of ten", False),
        ("Re:", "", True),
        ("re", "re", False),
        ("Re: 会議", "会議", True),
        ("Meeting [x]", "Meeting [x]", False),
        ("[open Meeting", "[open Meeting", False),
    ],
)
def test_a_base_subject_is_what_the_standard_says(subject: str, base: str, is_reply: bool) -> None:
    assert base_subject(subject) == (base, is_reply)


@given(st.text(alphabet="re:fwd[]() aF\t", max_size=60))
def test_a_base_subject_has_nothing_left_to_remove(subject: str) -> None:
    base, _ = base_subject(subject)
    assert base_subject(base)[0] == base


@pytest.mark.parametrize("subject", ["[a]" * 400, "re:" * 400, "[fwd:" * 200 + "]" * 200, "[" * 1000, "(fwd)" * 300])
def test_a_hostile_subject_is_read_once(subject: str) -> None:
    base_subject(subject * 100)


@dataclass
class Mail:
    """What one message sorts by."""

    text: str = ""
    number: int = 0
    fields: dict[bytes, str] = field(default_factory=dict)

    def arrived(self) -> int:
        return self.number

    def size(self) -> int:
        return self.number

    def sent(self) -> int:
        return self.number

    def subject(self) -> str:
        return self.text

    def first_mailbox(self, field: bytes) -> str:
        return self.fields.get(field, "")

    def display_name(self, field: bytes) -> str:
        return self.fields.get(field, "")


def ordered(keys: tuple[SortKey, ...], mails: list[Mail]) -> list[int]:
    return [place_of(key) for key in sorted(order_key(keys, mail, at) for at, mail in enumerate(mails))]


@given(st.lists(st.integers(-(1 << 61), 1 << 61), max_size=20), st.booleans())
def test_numbers_sort_as_numbers_and_ties_by_place(numbers: list[int], reverse: bool) -> None:
    mails = [Mail(number=number) for number in numbers]
    expected = sorted(range(len(numbers)), key=lambda at: (-numbers[at] if reverse else numbers[at], at))
    assert ordered((SortKey(SortField.DATE, reverse),), mails) == expected


def test_text_sorts_without_case_and_empty_first() -> None:
    mails = [
        Mail("beta"),
        Mail("Alpha"),
        Mail("re: ALPHA"),
        Mail(""),
        Mail("alphabet"),
        Mail("_x"),
        Mail("アア"),
        Mail("ｱｱ"),
    ]
    subject = SortKey(SortField.SUBJECT)
    assert ordered((subject,), mails) == [3, 1, 2, 4, 0, 5, 6, 7]
    assert ordered((SortKey(SortField.SUBJECT, reverse=True),), mails) == [6, 7, 5, 0, 4, 1, 2, 3]


def test_criteria_count_in_their_order_and_reverse_only_their_own() -> None:
    mails = [Mail("b", 1), Mail("a", 2), Mail("b", 3), Mail("a", 2)]
    assert ordered((SortKey(SortField.SUBJECT), SortKey(SortField.SIZE, reverse=True)), mails) == [1, 3, 2, 0]


def sort(text: bytes, *, uid: bool = False) -> Sort:
    scanner = Scanner(text)
    command = UID_COMMANDS[b"SORT"](scanner) if uid else COMMANDS[b"SORT"].parse(scanner)
    scanner.end()
    assert isinstance(command, Sort)
    return command


def test_sort_reads_criteria_charset_and_keys() -> None:
    command = sort(b" (REVERSE date SUBJECT) us-ascii SEEN")
    assert command.keys == (SortKey(SortField.DATE, reverse=True), SortKey(SortField.SUBJECT))
    assert command.program.key == HasFlag(b"\\Seen") and not command.uid and command.program.returns is None
    octets = "会議".encode("iso-2022-jp")
    command = sort(b" RETURN (COUNT) (DISPLAYFROM) ISO-2022-JP SUBJECT {%d+}\r\n%s" % (len(octets), octets), uid=True)
    assert command.program.key == HasField(b"SUBJECT", "会議") and command.uid
    assert command.program.returns is not None and command.program.returns.told == {ReturnOption.COUNT}


@pytest.mark.parametrize(
    "text",
    [b"", b" ()", b" (DATE)", b" (DATE) UTF-8", b" (REVERSE) UTF-8 ALL", b" (FOO) UTF-8 ALL",
     b" (DATE  SIZE) UTF-8 ALL", b" DATE UTF-8 ALL", b" (REVERSE REVERSE DATE) UTF-8 ALL",
     b" (" + b"DATE " * 20 + b"DATE) UTF-8 ALL"],
)  # fmt: skip
def test_what_is_no_sort_is_refused(text: bytes) -> None:
    with pytest.raises(CommandError):
        sort(text)


def test_an_unknown_charset_of_sort_is_answered_no() -> None:
    with pytest.raises(CommandError) as caught:
        sort(b" (DATE) KLINGON ALL")
    assert caught.value.condition is Condition.NO
