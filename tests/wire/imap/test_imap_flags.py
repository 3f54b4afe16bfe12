import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.imap.flags import RENDERED_MAX, FlagNames, Flags, SystemFlag, check_keyword, parse_flag_list
from bulkhead.wire.imap.grammar import CommandError, Scanner

NAMES = FlagNames([b"$Forwarded", b"Work"])


def parse(text: bytes) -> Flags:
    scanner = Scanner(text)
    flags = parse_flag_list(scanner)
    scanner.end()
    return flags


def test_system_flags_have_their_fixed_bits() -> None:
    assert [int(flag) for flag in SystemFlag] == [1, 2, 4, 8, 16]
    assert parse(b"(\\seen \\ANSWERED \\Flagged \\Deleted \\Draft)") == Flags(31)


@given(st.integers(0, 127))
def test_a_rendered_mask_is_parsed_back(mask: int) -> None:
    assert NAMES.mask(parse(NAMES.render(mask))) == mask


def test_keywords_are_known_in_any_case_and_named_once() -> None:
    assert parse(b"(work WORK x)") == Flags(0, (b"work", b"x"))
    assert NAMES.mask(Flags(1, (b"WORK",))) == 1 | 1 << 6
    assert NAMES.bit(b"\\seen") == 1
    assert NAMES.bit(b"other") == 0
    assert NAMES.unknown(Flags(0, (b"work", b"x"))) == (b"x",)


@pytest.mark.parametrize("text", [b"\\Seen", b"(\\Recent)", b"(\\Foo)", b"(a ", b"(a  b)", b"(%)", b"(a b", b"(\\)"])
def test_what_is_no_list_of_settable_flags_is_refused(text: bytes) -> None:
    with pytest.raises(CommandError):
        parse(text)


def test_a_keyword_of_64_octets_is_taken_and_one_more_is_not() -> None:
    assert check_keyword(b"k" * 64)
    with pytest.raises(CommandError):
        check_keyword(b"k" * 65)


def test_64_flags_are_taken_and_one_more_is_not() -> None:
    assert len(parse(b"(" + b" ".join(b"k%d" % n for n in range(64)) + b")").keywords) == 64
    with pytest.raises(CommandError, match="too many"):
        parse(b"(" + b" ".join(b"k%d" % n for n in range(65)) + b")")


def test_59_keywords_have_a_bit_and_one_more_is_refused() -> None:
    names = FlagNames(b"k%d" % n for n in range(59))
    assert names.bit(b"K58") == 1 << 63
    assert names.add(b"K0") == 1 << 5
    with pytest.raises(CommandError):
        names.add(b"more")


def test_the_texts_kept_are_bounded() -> None:
    names = FlagNames(b"k%d" % n for n in range(20))
    for mask in range(RENDERED_MAX + 10):
        names.render(mask)
    assert len(names._rendered) <= RENDERED_MAX


def test_every_flag_is_defined() -> None:
    assert NAMES.defined() == b"(\\Seen \\Answered \\Flagged \\Deleted \\Draft $Forwarded Work)"
