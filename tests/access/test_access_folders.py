"""Mailboxes by name over a real cell: LIST in all its forms, CREATE, RENAME, DELETE, STATUS, QUOTA."""

import re

import pytest
from tests.access.cell import Account, Cell, Raw, message

from bulkhead.boundary.messages import to_store


@pytest.fixture
def raw(cell: Cell, account: Account) -> Raw:
    return cell.raw(account)


def made(raw: Raw, *names: str, subscribe: tuple[str, ...] = ()) -> None:
    """Mailboxes of these names; of the subscriptions only these."""
    for name in names:
        assert b" OK " in raw.command(f'CREATE "{name}"')[-1]
    for name in ("INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"):
        raw.command(f"UNSUBSCRIBE {name}")
    for name in subscribe:
        assert b" OK " in raw.command(f'SUBSCRIBE "{name}"')[-1]


def asked(raw: Raw, command: str) -> list[str]:
    """The untagged lines of a command that is answered OK."""
    *lines, done = raw.command(command)
    assert done.split()[1] == b"OK", done
    return [line.decode().rstrip() for line in lines]


def refused(raw: Raw, command: str) -> str:
    """`NO [CODE]`, or `BAD`."""
    done = raw.command(command)[-1].decode().split()
    return " ".join(done[1:3]) if done[1] == "NO" else done[1]


# --- LIST ------------------------------------------------------------------------------------------------------------


def test_the_empty_pattern_asks_for_the_delimiter_only_in_a_plain_list(raw: Raw) -> None:
    assert asked(raw, 'LIST "" ""') == ['* LIST (\\Noselect) "/" ""']
    assert asked(raw, 'LIST "Archive/" ""') == ['* LIST (\\Noselect) "/" ""']
    assert asked(raw, 'LIST () "" ""') == []
    assert asked(raw, 'LIST "" ("")') == []


def test_several_patterns_list_each_name_once(raw: Raw) -> None:
    made(raw, "a/b")
    lines = asked(raw, 'LIST "" ("a*" "%" inbox) RETURN (CHILDREN)')
    assert lines == [
        '* LIST (\\HasNoChildren) "/" INBOX', '* LIST (\\HasNoChildren \\Archive) "/" Archive',
        '* LIST (\\HasNoChildren \\Drafts) "/" Drafts', '* LIST (\\HasNoChildren \\Junk) "/" Junk',
        '* LIST (\\HasNoChildren \\Sent) "/" Sent', '* LIST (\\HasNoChildren \\Trash) "/" Trash',
        '* LIST (\\NonExistent \\HasChildren) "/" a', '* LIST (\\HasNoChildren) "/" a/b',
    ]  # fmt: skip


def test_plain_list_shows_noselect_and_extended_list_nonexistent(raw: Raw) -> None:
    made(raw, "a/b")
    assert asked(raw, 'LIST "" a') == ['* LIST (\\Noselect \\HasChildren) "/" a']
    assert asked(raw, 'LIST "" a RETURN ()') == ['* LIST (\\NonExistent) "/" a']
    assert asked(raw, 'LIST "a/" %') == ['* LIST (\\HasNoChildren) "/" a/b']


def test_subscribed_names_are_selected_whether_or_not_they_exist(raw: Raw) -> None:
    made(raw, "fruit", "fruit/apple", "meat", subscribe=("fruit", "gone/away"))
    assert asked(raw, 'LIST (SUBSCRIBED) "" "*"') == [
        '* LIST (\\Subscribed) "/" fruit', '* LIST (\\NonExistent \\Subscribed) "/" gone/away',
    ]  # fmt: skip
    assert asked(raw, 'LIST (SUBSCRIBED REMOTE) "" "f*" RETURN (CHILDREN)') == [
        '* LIST (\\HasChildren \\Subscribed) "/" fruit'
    ]
    lines = asked(raw, 'LIST "" ("fruit*" meat "gone*") RETURN (SUBSCRIBED)')
    assert lines == ['* LIST (\\Subscribed) "/" fruit', '* LIST () "/" fruit/apple', '* LIST () "/" meat']


def test_recursivematch_tells_of_names_with_subscribed_ones_below_them(raw: Raw) -> None:
    """The mailboxes are those of RFC 5258 section 5, example 9."""
    made(
        raw, "foo2", "foo2/bar1", "foo2/bar2", "baz2", "baz2/bar2", "baz2/bar22", "baz2/bar222", "eps2", "eps2/mamba",
        "qux2/bar2",
        subscribe=("foo2/bar1", "foo2/bar2", "baz2/bar2", "baz2/bar22", "baz2/bar222", "eps2", "eps2/mamba",
                   "qux2/bar2"),
    )  # fmt: skip
    info = '("CHILDINFO" ("SUBSCRIBED"))'
    assert asked(raw, 'LIST (RECURSIVEMATCH SUBSCRIBED) "" "*"') == [
        '* LIST (\\Subscribed) "/" baz2/bar2', '* LIST (\\Subscribed) "/" baz2/bar22',
        '* LIST (\\Subscribed) "/" baz2/bar222', f'* LIST (\\Subscribed) "/" eps2 {info}',
        '* LIST (\\Subscribed) "/" eps2/mamba', '* LIST (\\Subscribed) "/" foo2/bar1',
        '* LIST (\\Subscribed) "/" foo2/bar2', '* LIST (\\Subscribed) "/" qux2/bar2',
    ]  # fmt: skip
    assert asked(raw, 'LIST (RECURSIVEMATCH SUBSCRIBED) "" "%2"') == [
        f'* LIST () "/" baz2 {info}', f'* LIST (\\Subscribed) "/" eps2 {info}', f'* LIST () "/" foo2 {info}',
        f'* LIST (\\NonExistent) "/" qux2 {info}',
    ]  # fmt: skip
    assert refused(raw, 'LIST (RECURSIVEMATCH) "" "*"') == "BAD"


def test_special_use_selects_the_mailboxes_that_have_one(raw: Raw) -> None:
    made(raw, "plain")
    uses = asked(raw, 'LIST (SPECIAL-USE) "" "*"')
    assert uses == [f'* LIST (\\{name}) "/" {name}' for name in ("Archive", "Drafts", "Junk", "Sent", "Trash")]
    assert asked(raw, 'LIST "" Sent RETURN (SPECIAL-USE)') == ['* LIST (\\Sent) "/" Sent']
    assert asked(raw, 'LIST (SPECIAL-USE SUBSCRIBED) "" "*"') == []


def test_list_status_counts_every_mailbox_without_a_call_for_each(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("1"), message("2"))
    raw = cell.raw(account)
    made(raw, "a/b", subscribe=("nowhere", "a/b"))
    with cell.sending() as requests:
        lines = asked(raw, 'LIST "" "*" RETURN (STATUS (MESSAGES UNSEEN SIZE) CHILDREN)')
    assert [type(request) for request in requests] == [to_store.ListMailboxes]
    assert lines[0:2] == ['* LIST (\\HasNoChildren) "/" INBOX', lines[1]]
    assert re.fullmatch(r"\* STATUS INBOX \(MESSAGES 2 UNSEEN 2 SIZE [0-9]+\)", lines[1])
    assert lines[-3:] == [
        '* LIST (\\NonExistent \\HasChildren) "/" a', '* LIST (\\HasNoChildren) "/" a/b',
        "* STATUS a/b (MESSAGES 0 UNSEEN 0 SIZE 0)",
    ]  # fmt: skip
    lines = asked(raw, 'LIST (SUBSCRIBED RECURSIVEMATCH) "" % RETURN (STATUS (MESSAGES))')
    assert lines == [
        '* LIST (\\NonExistent) "/" a ("CHILDINFO" ("SUBSCRIBED"))', '* LIST (\\NonExistent \\Subscribed) "/" nowhere'
    ]  # fmt: skip


def test_lsub_shows_a_name_above_only_where_percent_hides_what_is_below(raw: Raw) -> None:
    made(raw, "foo/bar", "foo", "top", subscribe=("foo/bar", "top", "gone"))
    assert asked(raw, 'LSUB "" %') == [
        '* LSUB (\\Noselect) "/" foo', '* LSUB (\\Noselect) "/" gone', '* LSUB () "/" top'
    ]  # fmt: skip
    assert asked(raw, 'LSUB "" *') == [
        '* LSUB () "/" foo/bar', '* LSUB (\\Noselect) "/" gone', '* LSUB () "/" top'
    ]  # fmt: skip
    assert asked(raw, 'LSUB "foo/" %') == ['* LSUB () "/" foo/bar']
    assert asked(raw, 'LSUB "" foo') == []


# --- CREATE and DELETE -----------------------------------------------------------------------------------------------


def test_create_gives_a_special_use_and_refuses_what_no_mailbox_can_be(raw: Raw) -> None:
    assert raw.command("CREATE Entw&APw-rfe (USE (\\Drafts))")[-1].startswith(b"T2 OK [MAILBOXID (F")
    assert asked(raw, 'LIST (SPECIAL-USE) "" Entw*') == ['* LIST (\\Drafts) "/" Entw&APw-rfe']
    for uses in ("\\All", "\\Flagged", "\\Important", "\\Nonsense", "\\Sent \\Trash"):
        assert refused(raw, f"CREATE other (USE ({uses}))") == "NO [USEATTR]"
    assert asked(raw, 'LIST "" other') == []
    assert asked(raw, "CREATE other (USE ())") == []
    assert refused(raw, "CREATE more (WHAT (\\Sent))") == "BAD"


def test_a_trailing_delimiter_is_dropped_and_inbox_is_inbox_at_the_first_level_only(raw: Raw) -> None:
    assert asked(raw, "CREATE folder/") == []
    assert asked(raw, 'LIST "" folder*') == ['* LIST (\\HasNoChildren) "/" folder']
    assert asked(raw, "CREATE inbox/child") == []
    assert refused(raw, "CREATE INBOX/child/") == "NO [ALREADYEXISTS]"
    assert asked(raw, 'LIST "" iNbOx/*') == ['* LIST (\\HasNoChildren) "/" INBOX/child']
    assert asked(raw, "CREATE folder/inbox") == []
    assert asked(raw, 'LIST "" folder/%') == ['* LIST (\\HasNoChildren) "/" folder/inbox']
    assert asked(raw, "STATUS inbox/child (MESSAGES)") == ["* STATUS INBOX/child (MESSAGES 0)"]


def test_deleting_a_mailbox_with_children_leaves_its_name_above_them(raw: Raw) -> None:
    made(raw, "foo", "foo/bar")
    assert asked(raw, "DELETE foo") == []
    assert asked(raw, 'LIST "" foo*') == [
        '* LIST (\\Noselect \\HasChildren) "/" foo', '* LIST (\\HasNoChildren) "/" foo/bar'
    ]  # fmt: skip
    assert refused(raw, "DELETE foo") == "NO [HASCHILDREN]"
    assert refused(raw, "SELECT foo") == "NO [NONEXISTENT]"
    assert asked(raw, "CREATE foo") == []
    assert asked(raw, 'LIST "" foo') == ['* LIST (\\HasChildren) "/" foo']
    assert asked(raw, "DELETE foo/bar") == asked(raw, "DELETE foo") == []
    assert refused(raw, "DELETE foo") == "NO [NONEXISTENT]"
    assert refused(raw, "DELETE inbox") == "NO [CANNOT]"


def test_a_mailbox_made_again_under_its_name_has_another_uidvalidity_and_id(raw: Raw) -> None:
    seen = set()
    for _ in range(2):
        asked(raw, "CREATE again")
        seen.add(asked(raw, "STATUS again (UIDVALIDITY MAILBOXID)")[0])
        asked(raw, "DELETE again")
    assert len(seen) == 2


# --- RENAME ----------------------------------------------------------------------------------------------------------


def test_renaming_takes_children_along_and_makes_what_is_missing_above(raw: Raw) -> None:
    made(raw, "a", "a/b", "a/b/c", "ab")
    ids = {name: asked(raw, f"STATUS {name} (MAILBOXID)")[0].split("(", 1)[1] for name in ("a", "a/b/c")}
    assert asked(raw, "RENAME a new/place/a") == []
    names = [line.split()[-1] for line in asked(raw, 'LIST "" ("a*" "new*")')]
    assert names == ["ab", "new", "new/place", "new/place/a", "new/place/a/b", "new/place/a/b/c"]
    assert asked(raw, "STATUS new/place/a/b/c (MAILBOXID)")[0].split("(", 1)[1] == ids["a/b/c"]
    assert asked(raw, "RENAME new moved") == []  # a name above mailboxes and none itself
    assert asked(raw, "STATUS moved/place/a (MAILBOXID)")[0].split("(", 1)[1] == ids["a"]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("RENAME a b", "NO [ALREADYEXISTS]"), ("RENAME a a", "NO [ALREADYEXISTS]"),
        ("RENAME a inbox", "NO [ALREADYEXISTS]"),
        ("RENAME a a/x", "NO [CANNOT]"), ("RENAME c d", "NO [NONEXISTENT]"), ("RENAME INBOX b", "NO [ALREADYEXISTS]"),
        ("RENAME a " + "/".join("x" * 20), "NO [CANNOT]"), ("RENAME a " + "x" * 999, "NO [CANNOT]"),
        ("RENAME a x//y", "NO [CANNOT]"), ("RENAME a", "BAD"),
    ],
)  # fmt: skip
def test_a_rename_that_cannot_be_changes_nothing(raw: Raw, command: str, answer: str) -> None:
    made(raw, "a", "a/child", "b")
    assert refused(raw, command) == answer
    assert [line.split()[-1] for line in asked(raw, 'LIST "" ("a*" "b*" "x*")')] == ["a", "a/child", "b"]


def test_renaming_inbox_moves_its_messages_with_their_flags_and_leaves_its_children(
    cell: Cell, account: Account
) -> None:
    cell.deliver(account, message("1"), message("2"), message("3"))
    raw, other = cell.raw(account), cell.raw(account)
    made(raw, "INBOX/child")
    asked(raw, "SELECT INBOX")
    asked(raw, "STORE 2 FLAGS (\\Flagged own)")
    asked(other, "SELECT INBOX")
    before = asked(raw, "STATUS INBOX (UIDVALIDITY UIDNEXT MAILBOXID)")
    with cell.sending() as requests:
        lines = asked(raw, "RENAME INBOX old/mail")
    assert [type(request) for request in requests].count(to_store.RenameInbox) == 1
    assert not any(isinstance(request, to_store.CopyMessages | to_store.CreateMailbox) for request in requests)
    assert [line.split()[-1] for line in lines if line.endswith("EXPUNGE")] == ["EXPUNGE"] * 3
    assert len([line for line in asked(other, "NOOP") if line.endswith("EXPUNGE")]) == 3
    assert asked(raw, "STATUS INBOX (UIDVALIDITY UIDNEXT MAILBOXID)") == before
    assert asked(raw, 'LIST "" INBOX*') == [
        '* LIST (\\HasChildren) "/" INBOX', '* LIST (\\HasNoChildren) "/" INBOX/child'
    ]  # fmt: skip
    assert "* 3 EXISTS" in asked(raw, "SELECT old/mail")
    flags = asked(raw, "FETCH 2 (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[0]
    assert "\\Flagged own" in flags and "Subject: 2" in flags


def test_subscriptions_are_names_and_stay_through_rename_and_delete(raw: Raw) -> None:
    made(raw, "one", "two", subscribe=("one", "two"))
    asked(raw, "RENAME one three")
    asked(raw, "DELETE two")
    assert asked(raw, 'LIST (SUBSCRIBED) "" *') == [
        '* LIST (\\NonExistent \\Subscribed) "/" one', '* LIST (\\NonExistent \\Subscribed) "/" two'
    ]  # fmt: skip
    assert asked(raw, "UNSUBSCRIBE two") == asked(raw, "UNSUBSCRIBE two") == []
    assert asked(raw, "SUBSCRIBE one") == []
    assert len(asked(raw, 'LSUB "" *')) == 1


# --- STATUS and QUOTA ------------------------------------------------------------------------------------------------


def test_status_tells_the_items_of_every_extension(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("1"), message("22"))
    raw = cell.raw(account)
    asked(raw, "SELECT INBOX")
    sizes = [int(line.split()[-1].rstrip(")")) for line in asked(raw, "FETCH 1:* RFC822.SIZE")]
    asked(raw, "STORE 2 +FLAGS.SILENT (\\Deleted)")
    line = asked(raw, "STATUS INBOX (SIZE DELETED DELETED-STORAGE APPENDLIMIT MAILBOXID)")[0]
    assert re.fullmatch(
        rf"\* STATUS INBOX \(SIZE {sum(sizes)} DELETED 1 DELETED-STORAGE {sizes[1]} APPENDLIMIT 67108864"
        r" MAILBOXID \(F[0-9a-f]{32}\)\)",
        line,
    )


def test_a_mailbox_has_one_id_at_create_select_and_status(raw: Raw) -> None:
    found = re.search(rb"OK \[(MAILBOXID \(F[0-9a-f]{32}\))\]", raw.command("CREATE here")[-1])
    assert found is not None
    told = found[1].decode()
    assert asked(raw, "STATUS here (MAILBOXID)") == [f"* STATUS here ({told})"]
    assert any(line.startswith(f"* OK [{told}] ") for line in asked(raw, "EXAMINE here"))


def test_quota_tells_storage_and_messages(cell: Cell) -> None:
    account = cell.add_account(quota=10_240)
    cell.deliver(account, message("1", body=b"x" * 1100))
    raw = cell.raw(account)
    quota = '* QUOTA "" (STORAGE 2 10 MESSAGE 1 4000000)'
    assert asked(raw, 'GETQUOTA ""') == [quota]
    assert asked(raw, "GETQUOTAROOT inbox") == ['* QUOTAROOT INBOX ""', quota]
    assert asked(raw, "GETQUOTAROOT not/yet") == ['* QUOTAROOT not/yet ""', quota]
    assert refused(raw, 'GETQUOTA "other"') == "NO [NONEXISTENT]"
    assert refused(raw, 'SETQUOTA "" (STORAGE 512)') == "NO [NOPERM]"
    assert refused(raw, 'SETQUOTA ""') == "BAD"


def test_an_account_without_a_quota_still_has_a_limit_of_messages(raw: Raw) -> None:
    assert asked(raw, 'GETQUOTA ""') == ['* QUOTA "" (MESSAGE 0 4000000)']


def test_what_is_past_the_quota_is_refused_with_overquota(cell: Cell) -> None:
    account = cell.add_account(quota=3000)
    cell.deliver(account, message("1", body=b"x" * 1700))
    raw = cell.raw(account)
    asked(raw, "SELECT INBOX")
    assert refused(raw, "APPEND INBOX {1500}") == "NO [OVERQUOTA]"
    assert refused(raw, "COPY 1 Trash") == "NO [OVERQUOTA]"
    assert asked(raw, "MOVE 1 Trash")
    assert asked(raw, "STATUS Trash (MESSAGES)") == ["* STATUS Trash (MESSAGES 1)"]


def test_capabilities_of_this_family_are_announced_after_login(raw: Raw) -> None:
    (line,) = asked(raw, "CAPABILITY")
    assert {
        "LIST-EXTENDED", "LIST-STATUS", "SPECIAL-USE", "CREATE-SPECIAL-USE", "STATUS=SIZE", "QUOTA", "MULTIAPPEND",
        "OBJECTID",
        "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE", "APPENDLIMIT=67108864", "CHILDREN",
    } < set(line.split())  # fmt: skip


def test_objects_have_ids_that_can_be_fetched_and_searched_for(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("1"), message("2"))
    raw = cell.raw(account)
    asked(raw, "SELECT INBOX")
    lines = asked(raw, "FETCH 1:2 (EMAILID THREADID)")
    ids = [re.fullmatch(r"\* [12] FETCH \(EMAILID \(([A-Za-z0-9_-]+)\) THREADID NIL\)", line) for line in lines]
    assert ids[0] is not None and ids[1] is not None and ids[0][1] != ids[1][1]
    assert asked(raw, f"SEARCH EMAILID {ids[1][1]}") == ["* SEARCH 2"]
    asked(raw, "COPY 2 Trash")
    asked(raw, "SELECT Trash")
    assert ids[1][1] in asked(raw, "FETCH 1 EMAILID")[0]  # a copy is the same message


@pytest.mark.parametrize("capability", ["UTF8=ACCEPT", "IMAP4rev2"])
def test_names_are_utf8_once_that_is_enabled(raw: Raw, capability: str) -> None:
    made(raw, "&U,BTFw-/&ZeU-", subscribe=("&U,BTFw-/&ZeU-",))
    asked(raw, f"ENABLE {capability}")
    name = '"台北/日"'
    assert asked(raw, 'LIST "台北/" (%) RETURN (STATUS (MESSAGES))') == [
        f'* LIST () "/" {name}', f"* STATUS {name} (MESSAGES 0)"
    ]  # fmt: skip
    assert asked(raw, 'LSUB "" "*"') == [f'* LSUB () "/" {name}']
    assert asked(raw, f"STATUS {name} (UNSEEN)") == [f"* STATUS {name} (UNSEEN 0)"]
    assert asked(raw, f"GETQUOTAROOT {name}")[0] == f'* QUOTAROOT {name} ""'
    assert asked(raw, f'RENAME {name} "été"') == []
    assert asked(raw, 'LIST "" "é*"') == ['* LIST (\\HasNoChildren) "/" "été"']
