import pytest
from hypothesis import given
from hypothesis import strategies as st
from imapclient.response_parser import parse_fetch_response

from bulkhead.wire.imap import responses as r
from bulkhead.wire.imap.command_table import State
from bulkhead.wire.imap.flags import FlagNames
from bulkhead.wire.imap.grammar import Condition, Scanner
from bulkhead.wire.imap.limits import Limits
from bulkhead.wire.imap.mailbox_name import parse_mailbox_name
from bulkhead.wire.imap.search_returns import ReturnOption
from bulkhead.wire.imap.status import StatusItem
from bulkhead.wire.internet_date import internal_date

OCTETS = st.binary(max_size=30).map(lambda value: value.replace(b"\0", b""))


@given(OCTETS)
def test_a_rendered_string_is_parsed_back(value: bytes) -> None:
    for rendered in (r.string(value), r.astring(value), r.literal(value)):
        scanner = Scanner(rendered)
        assert scanner.astring(maximum=100) == value
        scanner.end()


@given(OCTETS | st.none())
def test_a_rendered_nstring_is_parsed_back(value: bytes | None) -> None:
    assert Scanner(r.nstring(value)).nstring(maximum=100) == value


def test_an_astring_is_never_taken_for_nil() -> None:
    assert r.astring(b"nil") == b'"nil"'
    assert r.astring(b"") == b'""'


def test_a_string_of_4096_octets_is_quoted_and_a_longer_one_is_a_literal() -> None:
    assert r.string(b"a" * 4096).startswith(b'"')
    assert r.string(b"a" * 4097).startswith(b"{4097}\r\n")


@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="/"), min_size=1, max_size=9)
)
def test_a_rendered_mailbox_is_parsed_back(name: str) -> None:
    for utf8 in (False, True):
        octets = Scanner(r.mailbox(name, utf8=utf8)).astring(maximum=1000)
        parsed = parse_mailbox_name(octets, utf8=utf8)
        assert parsed == (name.upper() if name.upper() == "INBOX" else name)


def test_status_lines_have_their_code_in_brackets() -> None:
    assert r.tagged(b"A1", Condition.OK, "done") == b"A1 OK done\r\n"
    assert r.tagged(b"A1", Condition.NO, "no", r.Code.OVERQUOTA) == b"A1 NO [OVERQUOTA] no\r\n"
    assert r.untagged(Condition.OK, "next", r.uid_code(b"UIDNEXT", 4)) == b"* OK [UIDNEXT 4] next\r\n"
    assert r.untagged(Condition.BYE, "") == b"* BYE Done\r\n"
    assert r.continuation() == b"+ OK\r\n"
    assert r.continuation(b"") == b"+ \r\n"


@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "a\0"])
def test_a_text_of_two_lines_is_our_bug(text: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        r.tagged(b"A1", Condition.OK, text)
    with pytest.raises(ValueError, match="one line"):
        r.tagged(b"A1", Condition.OK, "x", text.encode())


def test_data_lines_read_as_in_the_standard() -> None:
    assert r.exists(23) + r.recent(0) + r.expunge(4) == b"* 23 EXISTS\r\n* 0 RECENT\r\n* 4 EXPUNGE\r\n"
    assert r.list_line("a b", (b"\\HasNoChildren",)) == b'* LIST (\\HasNoChildren) "/" "a b"\r\n'
    assert r.list_line("日", kind=b"LSUB") == b'* LSUB () "/" &ZeU-\r\n'
    assert r.delimiter_line() == b'* LIST (\\Noselect) "/" ""\r\n'
    told = b'* LIST () "/" foo ("CHILDINFO" ("SUBSCRIBED"))\r\n'
    assert r.list_line("foo", child_info=True) == told
    assert r.quota_root_line("a b") == b'* QUOTAROOT "a b" ""\r\n'
    assert r.quota_line({b"STORAGE": (1, 2), b"MESSAGE": (0, 9)}) == b'* QUOTA "" (STORAGE 1 2 MESSAGE 0 9)\r\n'
    assert r.mailbox_id_code(b"\x01\xff") == b"MAILBOXID (F01ff)"
    assert r.status_line("a", {StatusItem.MAILBOXID: b"(F01)"}) == b"* STATUS a (MAILBOXID (F01))\r\n"
    status = {StatusItem.MESSAGES: 3, StatusItem.UIDNEXT: 9}
    assert r.status_line("INBOX", status) == b"* STATUS INBOX (MESSAGES 3 UIDNEXT 9)\r\n"
    found = {ReturnOption.COUNT: b"3", ReturnOption.ALL: b"1:3"}
    assert r.esearch_line(b"A1", found, uid=True) == b'* ESEARCH (TAG "A1") UID COUNT 3 ALL 1:3\r\n'
    assert r.fetch_line(12, [b"FLAGS", b"(\\Seen)", b"UID", b"7"]) == b"* 12 FETCH (FLAGS (\\Seen) UID 7)\r\n"
    assert r.literal_start(b"BODY[]<0>", 5) == b"BODY[]<0> {5}\r\n"
    assert r.enabled_line([b"CONDSTORE"]) == b"* ENABLED CONDSTORE\r\n"
    assert r.enabled_line([]) == b"* ENABLED\r\n"
    assert r.namespace_line() == b'* NAMESPACE (("" "/")) NIL NIL\r\n'
    assert r.id_line([(b"name", b"Bulkhead"), (b"os", None)]) == b'* ID ("name" "Bulkhead" "os" NIL)\r\n'
    assert r.id_line([]) == b"* ID NIL\r\n"
    assert r.untagged_data(r.capability_list(State.SELECTED, Limits())).startswith(b"* CAPABILITY IMAP4rev1 ")


def test_uidplus_codes_read_as_in_the_standard() -> None:
    assert r.append_uid_code(38505, 3955) == b"APPENDUID 38505 3955"
    assert r.copy_uid_code(38505, b"304,319:320", b"3956:3958") == b"COPYUID 38505 304,319:320 3956:3958"
    with pytest.raises(ValueError, match="at least one"):
        r.copy_uid_code(1, b"", b"")


def test_permanent_flags_offer_new_keywords_only_where_there_is_room() -> None:
    defined = FlagNames([b"Work"]).defined()
    assert r.flags_line(defined) == b"* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft Work)\r\n"
    assert r.permanent_flags_code(defined, more=True).endswith(b"Work \\*)")
    assert r.permanent_flags_code(defined, more=False).endswith(b"Work)")


def test_login_is_offered_only_before_login() -> None:
    before = r.capability_list(State.NOT_AUTHENTICATED, Limits()).split()
    after = r.capability_list(State.AUTHENTICATED, Limits(literal_minus=True)).split()
    assert {b"AUTH=PLAIN", b"SASL-IR", b"LITERAL+"} <= set(before)
    assert {b"IDLE", b"UIDPLUS", b"LITERAL-"} <= set(after)
    assert not set(after) & {b"AUTH=PLAIN", b"SASL-IR", b"LITERAL+"}


def test_a_client_reads_what_a_fetch_says() -> None:
    body = b"Subject: x)\r\n\r\n"
    items = [b"UID", b"7", b"FLAGS", b"(\\Seen $Forwarded)", b"INTERNALDATE", internal_date(760168345, 540)]
    items += [b"EMAILID", b"(eml_x)", b"BODY[HEADER.FIELDS (SUBJECT)]<0>", r.literal(body), b"BODY[1]", r.nstring(None)]
    head, _, rest = r.fetch_line(12, items).removeprefix(b"* ").removesuffix(b"\r\n").partition(b"{%d}\r\n" % len(body))
    lines = [(head + b"{%d}" % len(body), rest[: len(body)]), rest[len(body) :]]
    (message,) = parse_fetch_response([(lines[0][0].replace(b" FETCH ", b" "), lines[0][1]), lines[1]]).values()
    assert message[b"SEQ"] == 12
    assert message[b"FLAGS"] == (b"\\Seen", b"$Forwarded")
    assert message[b"BODY[HEADER.FIELDS (SUBJECT)]<0>"] == body
    assert message[b"BODY[1]"] is None


@given(st.integers(0, 2**33), st.sampled_from([0, 540, -210]))
def test_a_rendered_internal_date_is_parsed_back(seconds: int, offset: int) -> None:
    assert Scanner(internal_date(seconds, offset)).date_time() == seconds


def test_an_internal_date_has_its_fixed_form() -> None:
    assert internal_date(760168345, -480) == b'" 1-Feb-1994 21:52:25 -0800"'
    assert internal_date(0) == b'" 1-Jan-1970 00:00:00 +0000"'
