import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.imap import commands as c
from bulkhead.wire.imap import limits
from bulkhead.wire.imap.command_table import COMMANDS, UID_COMMANDS, State, find_rule
from bulkhead.wire.imap.fetch import Attribute
from bulkhead.wire.imap.flags import Flags
from bulkhead.wire.imap.grammar import CommandError, Condition, Scanner
from bulkhead.wire.imap.search import And, SearchProgram
from bulkhead.wire.imap.sequence import ALL, SequenceSet
from bulkhead.wire.imap.status import StatusItem

ONE = SequenceSet(((1, 1),))


def parse(text: bytes, state: State = State.SELECTED) -> c.Command:
    scanner = Scanner(text + b"\r\n")
    command = find_rule(scanner, state).parse(scanner)
    scanner.end()
    return command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (b"capability", c.Capability()),
        (b"NOOP", c.Noop()),
        (b"LOGOUT", c.Logout()),
        (b"CHECK", c.Check()),
        (b"CLOSE", c.Close(expunge=True)),
        (b"UNSELECT", c.Close(expunge=False)),
        (b"EXPUNGE", c.Expunge()),
        (b"UID EXPUNGE 1:*", c.Expunge(ALL)),
        (b"IDLE", c.Idle()),
        (b"NAMESPACE", c.Namespace()),
        (b"ENABLE CONDSTORE utf8=accept", c.Enable((b"CONDSTORE", b"UTF8=ACCEPT"))),
        (b"ID NIL", c.Id(())),
        (b'ID ("name" "x" "version" NIL)', c.Id(((b"name", b"x"), (b"version", None)))),
        (b"SELECT inbox", c.Select("INBOX", read_only=False)),
        (b'EXAMINE "a b"', c.Select("a b", read_only=True)),
        (b"CREATE &ZeU-/", c.Create("日")),
        (b"DELETE {3+}\r\na/b", c.Delete("a/b")),
        (b"RENAME a b/", c.Rename("a", "b")),
        (b"SUBSCRIBE a", c.Subscribe("a", on=True)),
        (b"UNSUBSCRIBE a", c.Subscribe("a", on=False)),
        (b'LIST "" %', c.ListMailboxes("", ("%",))),
        (b'LSUB "a/" "*"', c.ListSubscribed("a/", "*")),
        (b'LIST "" ""', c.ListMailboxes("", ("",))),
        (b'list () "" ""', c.ListMailboxes("", ("",), extended=True)),
        (b'LIST "" (a "b c" %)', c.ListMailboxes("", ("a", "b c", "%"), extended=True)),
        (b'LIST "" * RETURN ()', c.ListMailboxes("", ("*",), extended=True)),
        (
            b'LIST (SUBSCRIBED recursivematch remote special-use) "" * RETURN (subscribed CHILDREN SPECIAL-USE)',
            c.ListMailboxes("", ("*",), True, frozenset(c.Selection), frozenset(c.ListReturn)),
        ),
        (
            b'LIST "" * RETURN (STATUS (MESSAGES unseen) CHILDREN)',
            c.ListMailboxes(
                "",
                ("*",),
                True,
                returns=frozenset((c.ListReturn.CHILDREN,)),
                status=(StatusItem.MESSAGES, StatusItem.UNSEEN),
            ),
        ),
        (b"CREATE a (USE (\\Drafts \\x))", c.Create("a", (b"\\DRAFTS", b"\\X"))),
        (b"CREATE a (use ())", c.Create("a")),
        (b'GETQUOTA ""', c.GetQuota(b"")),
        (b"GETQUOTAROOT inbox", c.GetQuotaRoot("INBOX")),
        (b'SETQUOTA "" (storage 512 MESSAGE 0)', c.SetQuota(b"", ((b"STORAGE", 512), (b"MESSAGE", 0)))),
        (b'SETQUOTA "" ()', c.SetQuota(b"", ())),
        (
            b"STATUS a (MAILBOXID APPENDLIMIT DELETED-STORAGE)",
            c.Status("a", (StatusItem.MAILBOXID, StatusItem.APPENDLIMIT, StatusItem.DELETED_STORAGE)),
        ),
        (
            b"STATUS a (UIDNEXT messages UIDNEXT)",
            c.Status("a", (StatusItem.UIDNEXT, StatusItem.MESSAGES)),
        ),
        (b"SEARCH ALL", c.Search(SearchProgram(And(())), uid=False)),
        (b"UID SEARCH ALL", c.Search(SearchProgram(And(())), uid=True)),
        (b"FETCH 1 UID", c.Fetch(ONE, (Attribute.UID,), uid=False)),
        (b"UID FETCH 1 (FLAGS UID)", c.Fetch(ONE, (Attribute.FLAGS, Attribute.UID), uid=True)),
        (b"STORE 1 FLAGS ()", c.Store(ONE, c.StoreMode.REPLACE, False, Flags(), uid=False)),
        (b"UID STORE 1 -flags.silent \\Seen x", c.Store(ONE, c.StoreMode.REMOVE, True, Flags(1, (b"x",)), uid=True)),
        (b"COPY 1 a", c.Copy(ONE, "a", move=False, uid=False)),
        (b"UID MOVE 1 a", c.Copy(ONE, "a", move=True, uid=True)),
    ],
)
def test_a_command_is_parsed_to_its_value(text: bytes, command: c.Command) -> None:
    assert parse(text) == command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (b"LOGIN a b", c.Login("a", b"b")),
        (b'LOGIN "a\\"\\\\" {3}\r\n\xe3\x81\x82', c.Login('a"\\', "あ".encode())),
        (b"AUTHENTICATE plain", c.Authenticate("PLAIN", None)),
        (b"AUTHENTICATE PLAIN =", c.Authenticate("PLAIN", b"=")),
        (b"AUTHENTICATE PLAIN AGEAYg==", c.Authenticate("PLAIN", b"AGEAYg==")),
    ],
)
def test_a_login_is_parsed_to_its_value(text: bytes, command: c.Command) -> None:
    assert parse(text, State.NOT_AUTHENTICATED) == command


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"FOO",
        b"NOOP ",
        b"NOOP x",
        b"SELECT",
        b"SELECT  a",
        b"SELECT a b",
        b"SELECT (",
        b'SELECT "a',
        b"SELECT {3+}\r\nab",
        b"SELECT {3+}\r\na\x00b",
        b"STATUS a ()",
        b"STATUS a (FOO)",
        b"STATUS a UIDNEXT",
        b"STATUS a (UIDNEXT",
        b"STORE 1 FLAG \\Seen",
        b"STORE 1 +FLAGS",
        b"STORE 1 +FLAGS (\\Recent)",
        b"UID NOOP",
        b"UID",
        b"ENABLE",
        b"ID",
        b"ID (a b)",
        b"FETCH 1",
        b"COPY 1",
        b"COPY a b",
        b'APPEND INBOX (x) "bad date" {3}\r\n',
        b'LIST (RECURSIVEMATCH) "" *',
        b'LIST (REMOTE RECURSIVEMATCH) "" *',
        b'LIST (SPECIAL-USE RECURSIVEMATCH) "" *',
        b'LIST (X) "" *',
        b'LIST (SUBSCRIBED)"" *',
        b'LIST (SUBSCRIBED ) "" *',
        b'LIST "" ()',
        b'LIST "" (a  b)',
        b'LIST "" * RETURN',
        b'LIST "" * RETURN (X)',
        b'LIST "" * RETURN (STATUS)',
        b'LIST "" * RETURN (STATUS ())',
        b'LIST "" * RETURN (CHILDREN',
        b'LIST "" * X ()',
        b'LSUB "" (a b)',
        b'LSUB (SUBSCRIBED) "" *',
        b"CREATE a (USE)",
        b"CREATE a (USE (Drafts))",
        b"CREATE a (X 1)",
        b"CREATE a ()",
        b"CREATE a (USE (\\Drafts)",
        b"GETQUOTA",
        b"GETQUOTAROOT",
        b'SETQUOTA ""',
        b'SETQUOTA "" (STORAGE)',
        b'SETQUOTA "" (STORAGE -1)',
    ],
)
def test_what_is_not_the_grammar_is_refused(text: bytes) -> None:
    with pytest.raises(CommandError) as caught:
        parse(text)
    assert caught.value.condition is Condition.BAD


def test_id_takes_30_names_and_not_one_more() -> None:
    assert parse(b"ID (" + b" ".join([b'"a" "b"'] * 30) + b")")
    with pytest.raises(CommandError):
        parse(b"ID (" + b" ".join([b'"a" "b"'] * 31) + b")")


def test_id_names_and_values_have_their_limits() -> None:
    assert parse(b'ID ("' + b"n" * 30 + b'" "' + b"v" * 1024 + b'")')
    for pair in (b'"' + b"n" * 31 + b'" "v"', b'"n" "' + b"v" * 1025 + b'"'):
        with pytest.raises(CommandError):
            parse(b"ID (" + pair + b")")


def test_a_credential_has_512_octets_and_not_one_more() -> None:
    assert parse(b"LOGIN a " + b"p" * 512, State.NOT_AUTHENTICATED)
    with pytest.raises(CommandError):
        parse(b"LOGIN a " + b"p" * 513, State.NOT_AUTHENTICATED)


@pytest.mark.parametrize("name", [b"{1}\r\n\xff", b"{1}\r\n\x01"])
def test_a_user_name_is_printable_utf8(name: bytes) -> None:
    with pytest.raises(CommandError):
        parse(b"LOGIN " + name + b" p", State.NOT_AUTHENTICATED)


def test_32_capabilities_are_enabled_and_not_one_more() -> None:
    assert parse(b"ENABLE" + b" X" * 32)
    with pytest.raises(CommandError):
        parse(b"ENABLE" + b" X" * 33)


@pytest.mark.parametrize(
    ("command", "unit", "most"),
    [
        (b'LIST "" (%s)', b"a", limits.LIST_PATTERNS_MAX),
        (b"CREATE a (USE (%s))", b"\\Drafts", limits.SPECIAL_USES_MAX),
        (b'SETQUOTA "" (%s)', b"STORAGE 1", limits.QUOTA_RESOURCES_MAX),
    ],
)
def test_a_list_has_its_most_and_not_one_more(command: bytes, unit: bytes, most: int) -> None:
    assert parse(command % b" ".join([unit] * most))
    with pytest.raises(CommandError):
        parse(command % b" ".join([unit] * (most + 1)))


_LIST_WORDS = st.sampled_from(
    [b"(", b")", b" ", b'""', b"*", b"%", b"a", b"RETURN", b"SUBSCRIBED", b"RECURSIVEMATCH", b"CHILDREN", b"STATUS",
     b"MESSAGES", b"SPECIAL-USE", b"{1+}\r\na"]
)  # fmt: skip


@given(st.lists(_LIST_WORDS, max_size=24))
def test_any_order_of_the_words_of_list_is_a_command_or_bad(words: list[bytes]) -> None:
    try:
        command = parse(b"LIST " + b"".join(words))
    except CommandError as error:
        assert error.condition is Condition.BAD
    else:
        assert isinstance(command, c.ListMailboxes) and command.patterns


@given(st.sampled_from(sorted(COMMANDS)), st.binary(max_size=40))
def test_random_arguments_are_a_command_or_refused(name: bytes, arguments: bytes) -> None:
    for state in State:
        try:
            parse(name + b" " + arguments, state)
        except CommandError as error:
            assert error.public


def test_every_command_of_the_standard_has_a_row() -> None:
    rfc3501 = (
        b"CAPABILITY NOOP LOGOUT AUTHENTICATE LOGIN SELECT EXAMINE CREATE DELETE RENAME SUBSCRIBE UNSUBSCRIBE LIST LSUB"
        b" STATUS APPEND CHECK CLOSE EXPUNGE SEARCH FETCH STORE COPY UID"
    )
    assert set(rfc3501.split()) <= set(COMMANDS)
    assert set(UID_COMMANDS) == {b"FETCH", b"STORE", b"COPY", b"MOVE", b"EXPUNGE", b"SEARCH", b"SORT", b"THREAD"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b'"01-Jan-1970 00:00:00 +0000"', 0),
        (b'" 1-Jan-1970 09:00:00 +0900"', 0),
        (b'"1-Jan-1970 09:00:00 +0900"', 0),
        (b'"31-Dec-1969 19:00:00 -0500"', 0),
        (b'"01-Jan-0001 10:00:00 +0000"', 0),
        (b'"31-Dec-9999 23:59:59 +0000"', 253402000000),
        (b'"30-Jun-2012 23:59:60 +0000"', 1341100799),
    ],
)
def test_a_date_time_is_read_in_its_zone(text: bytes, seconds: int) -> None:
    assert Scanner(text).date_time() == seconds


@pytest.mark.parametrize(
    "text",
    [b'"-Jan-1970 00:00:00 +0000"', b'"31-Feb-1970 00:00:00 +0000"', b'" 1-Foo-1970 00:00:00 +0000"', b'" 1-Jan-1970"',
     b'" 1-Jan-0000 00:00:00 +0000"', b'" 1-Jan-0001 00:00:00 +9900"', b'" 1-Jan-1970 24:00:00 +0000"'],
)  # fmt: skip
def test_what_is_no_date_time_is_refused(text: bytes) -> None:
    with pytest.raises(CommandError):
        Scanner(text).date_time()
