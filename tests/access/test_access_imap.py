"""IMAP with real clients over TLS, against the real holders."""

import base64
import imaplib
import threading
from datetime import datetime

import pytest
from imapclient import IMAPClient
from tests.access.cell import PASSWORD, Account, Cell, Raw, message

from bulkhead.access import idle

JAPANESE = "受信箱/下書き"


@pytest.fixture
def client(cell: Cell, account: Account) -> IMAPClient:
    client = IMAPClient("127.0.0.1", cell.ports["imaps"], ssl_context=cell.client_tls, timeout=30)
    client.login(account.address, PASSWORD)
    return client


# --- before login ----------------------------------------------------------------------------------------------------


def test_capabilities_differ_before_and_after_login(cell: Cell, account: Account) -> None:
    raw = cell.raw()
    assert raw.greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ")
    before = raw.command("CAPABILITY")[0].split()
    assert {b"AUTH=PLAIN", b"SASL-IR", b"LITERAL+", b"ID", b"ENABLE"} < set(before)
    done = raw.command(f'LOGIN {account.address} "{PASSWORD}"')[-1]
    after = {b"IDLE", b"NAMESPACE", b"UIDPLUS", b"UNSELECT", b"MOVE", b"ESEARCH", b"CHILDREN", b"SPECIAL-USE"}
    assert after < set(done.replace(b"]", b" ").split())
    assert b"AUTH=PLAIN" not in done


def test_a_wrong_password_is_refused_and_the_next_try_may_succeed(cell: Cell, account: Account) -> None:
    raw = cell.raw()
    assert raw.command(f"LOGIN {account.address} wrong")[-1].startswith(b"T1 NO [AUTHENTICATIONFAILED]")
    assert raw.command("LOGIN nobody@stnet.example wrong")[-1].startswith(b"T2 NO [AUTHENTICATIONFAILED]")
    assert raw.command("SELECT INBOX")[-1].startswith(b"T3 BAD")
    assert raw.command(f'LOGIN {account.address} "{PASSWORD}"')[-1].startswith(b"T4 OK")


def test_authenticate_plain_works_with_and_without_an_initial_response(cell: Cell, account: Account) -> None:
    client = cell.imap()
    octets = f"\0{account.address}\0{PASSWORD}".encode()
    assert client.authenticate("PLAIN", lambda _: octets)[0] == "OK"
    other = IMAPClient("127.0.0.1", cell.ports["imaps"], ssl_context=cell.client_tls)
    other.plain_login(account.address, PASSWORD)
    other.logout()
    raw = cell.raw()
    raw.send(b"T1 AUTHENTICATE PLAIN\r\n")
    assert raw.line() == b"+ \r\n"
    raw.send(b"*\r\n")
    assert raw.line().startswith(b"T1 BAD")
    assert raw.command("AUTHENTICATE LOGIN")[-1].startswith(b"T1 NO [CANNOT]")
    assert raw.command("AUTHENTICATE PLAIN !!")[-1].startswith(b"T2 BAD")


def test_nobody_acts_for_another(cell: Cell, account: Account) -> None:
    raw = cell.raw()
    response = base64.b64encode(f"other@stnet.example\0{account.address}\0{PASSWORD}".encode()).decode()
    assert raw.command(f"AUTHENTICATE PLAIN {response}")[-1].startswith(b"T1 NO [AUTHORIZATIONFAILED]")


def test_too_many_failed_logins_end_the_connection(cell: Cell, account: Account) -> None:
    raw = cell.raw()
    for _ in range(10):
        assert raw.command(f"LOGIN {account.address} wrong")[-1].split()[1] == b"NO"
    raw.send(b"Z LOGIN a b\r\n")
    assert raw.until(b"* BYE")
    assert raw.line() == b""


# --- mailboxes by name -----------------------------------------------------------------------------------------------


def test_the_first_login_makes_the_mailboxes_that_clients_look_for(client: IMAPClient) -> None:
    listed = {name: flags for flags, _, name in client.list_folders()}
    assert set(listed) == {"INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"}
    assert b"\\Sent" in listed["Sent"] and b"\\Trash" in listed["Trash"]
    assert client.find_special_folder(b"\\Drafts") == "Drafts"
    assert {name for _, _, name in client.list_sub_folders()} == set(listed)


def test_names_in_any_script_are_made_listed_renamed_and_deleted(client: IMAPClient, cell: Cell) -> None:
    client.create_folder(JAPANESE)
    listed = {name: flags for flags, _, name in client.list_folders()}
    assert b"\\HasNoChildren" in listed[JAPANESE]
    assert {b"\\HasChildren", b"\\Noselect"} <= set(listed["受信箱"])
    with pytest.raises(imaplib.IMAP4.error, match="ALREADYEXISTS"):
        client.create_folder(JAPANESE)
    client.create_folder("受信箱")
    client.rename_folder("受信箱", "Été & <co>")
    names = {name for _, _, name in client.list_folders()}
    assert {"Été & <co>", "Été & <co>/下書き"} <= names and "受信箱" not in names
    client.delete_folder("Été & <co>/下書き")
    assert client.folder_exists("Été & <co>/下書き") is False
    rows = cell.rows("SELECT sealed_name FROM mailbox")
    assert not any("Été".encode() in row[0] for row in rows)


def test_composed_and_decomposed_names_are_one_mailbox(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    assert b" OK " in raw.command("CREATE Caf&AOk-")[-1]
    assert b"ALREADYEXISTS" in raw.command("CREATE Cafe&AwE-")[-1]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("SELECT Nowhere", b"NONEXISTENT"), ("STATUS Nowhere (MESSAGES)", b"NONEXISTENT"),
        ("DELETE Nowhere", b"NONEXISTENT"), ("DELETE INBOX", b"CANNOT"), ("RENAME Nowhere Other", b"NONEXISTENT"),
        ("RENAME Sent Trash", b"ALREADYEXISTS"), ("RENAME Sent Sent/Child", b"CANNOT"),
        ("CREATE INBOX", b"ALREADYEXISTS"), ("CREATE inbox", b"ALREADYEXISTS"),
        ("CREATE a//b", b"CANNOT"), ("CREATE \"a*b\"", b"CANNOT"),
        ("APPEND Nowhere {3}", b"TRYCREATE"),
    ],
)  # fmt: skip
def test_refusals_carry_a_code_that_programs_understand(
    cell: Cell, account: Account, command: str, code: bytes
) -> None:
    assert cell.raw(account).command(command)[-1].startswith(b"T2 NO [" + code + b"]")


def test_renaming_inbox_moves_its_messages_and_leaves_it(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("1"), message("2"))
    raw = cell.raw(account)
    assert b" OK " in raw.command("RENAME INBOX Old")[-1]
    assert b"MESSAGES 2" in raw.command("STATUS Old (MESSAGES)")[0]
    assert b"MESSAGES 0" in raw.command("STATUS INBOX (MESSAGES)")[0]


def test_list_and_lsub_follow_wildcards_and_subscriptions(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    for name in ("work", "work/a", "work/b/c"):
        raw.command(f"CREATE {name}")
    assert [line.split()[-1] for line in raw.command('LIST "" work/%')[:-1]] == [b"work/a", b"work/b"]
    assert [line.split()[-1] for line in raw.command("LIST work/ *")[:-1]] == [b"work/a", b"work/b", b"work/b/c"]
    assert raw.command('LIST "" ""')[0] == b'* LIST (\\Noselect) "/" ""\r\n'
    raw.command("SUBSCRIBE work/b/c")
    raw.command("UNSUBSCRIBE Sent")
    assert [line.split()[-1] for line in raw.command('LSUB "" work*')[:-1]] == [b"work/b/c"]
    assert raw.command('LSUB "" work/%')[0] == b'* LSUB (\\Noselect) "/" work/b\r\n'
    assert not any(b" Sent" in line for line in raw.command('LSUB "" *'))
    raw.command("DELETE work/b/c")
    assert raw.command('LSUB "" work*')[0] == b'* LSUB (\\Noselect) "/" work/b/c\r\n'


def test_deleting_the_selected_mailbox_leaves_no_mailbox_selected(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    raw.command("CREATE x")
    raw.command("SELECT x")
    assert b" OK " in raw.command("DELETE x")[-1]
    assert b" BAD " in raw.command("FETCH 1 UID")[-1]
    assert b" OK " in raw.command("NOOP")[-1]


# --- the selected mailbox --------------------------------------------------------------------------------------------


def test_select_tells_what_the_standard_asks_for(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("1"), message("2"))
    raw = cell.raw(account)
    lines = b"".join(raw.command("SELECT INBOX"))
    for part in (b"* FLAGS (", b"[PERMANENTFLAGS (", b"* 2 EXISTS", b"* 2 RECENT", b"[UNSEEN 1]", b"[UIDVALIDITY ",
                 b"[UIDNEXT 3]", b"OK [READ-WRITE]"):  # fmt: skip
        assert part in lines
    lines = b"".join(raw.command("EXAMINE INBOX"))
    assert b"[PERMANENTFLAGS ()]" in lines and b"OK [READ-ONLY]" in lines
    for command in ("STORE 1 FLAGS (\\Seen)", "EXPUNGE", "MOVE 1 Trash"):
        assert b" NO [READ-ONLY]" in raw.command(command)[-1]
    assert b"\\Seen" not in b"".join(raw.command("FETCH 1 (BODY[] FLAGS)"))


def test_reading_a_body_sets_seen_and_says_so_and_peeking_does_not(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("1"), message("2"))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    assert b"FLAGS" not in b"".join(raw.command("FETCH 1 BODY.PEEK[]"))
    assert raw.command("FETCH 1 BODY[TEXT]")[0].endswith(b"FLAGS (\\Recent \\Seen))\r\n")
    assert b"FLAGS" not in b"".join(raw.command("FETCH 1 BODY[TEXT]"))
    assert raw.command("FETCH 2 (FLAGS RFC822)")[0].startswith(b"* 2 FETCH (FLAGS (\\Recent \\Seen) RFC822 {")


def test_sections_and_partials_are_octets_of_the_message(cell: Cell, account: Account) -> None:
    inner = b"From: i@example.org\r\nSubject: inner\r\n\r\ninner text\r\n"
    text = message(
        "outer", b"preamble\r\n--b\r\nContent-Type: text/plain\r\nX-P: 1\r\n\r\nfirst\r\n--b\r\n"
        b"Content-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--b--\r\n",
        b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n",
    )  # fmt: skip
    cell.deliver(account, text)
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    header, body = text.split(b"\r\n\r\n", 1)

    def section(name: str) -> bytes:
        line = raw.command(f"FETCH 1 BODY.PEEK[{name}]")[0]
        if b"] NIL" in line:
            return b"NIL"
        size = int(line[line.index(b"{") + 1 : line.index(b"}")])
        return line[line.index(b"\r\n") + 2 :][:size]

    assert section("") == text
    assert section("HEADER") == header + b"\r\n\r\n"
    assert section("TEXT") == body
    assert section("1") == b"first"
    assert section("1.MIME") == b"Content-Type: text/plain\r\nX-P: 1\r\n\r\n"
    assert section("2") == inner
    assert section("2.HEADER") == inner[: inner.index(b"\r\n\r\n") + 4]
    assert section("2.TEXT") == b"inner text\r\n"
    assert section("2.1") == b"inner text\r\n"
    assert section("2.HEADER.FIELDS (SUBJECT)") == b"Subject: inner\r\n\r\n"
    assert section("HEADER.FIELDS.NOT (FROM TO DATE MESSAGE-ID MIME-VERSION CONTENT-TYPE)") == b"Subject: outer\r\n\r\n"
    assert section("3") == b"NIL"
    assert section("1.HEADER") == b"NIL"


def test_partial_fetches_meet_at_every_boundary(cell: Cell, account: Account) -> None:
    text = message("big", bytes(33 + n % 90 for n in range(150_000)))
    cell.deliver(account, text)
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    header = text.index(b"\r\n\r\n") + 4
    places = [0, 1, header - 1, header, header + 1, header + 65535, header + 65536, header + 65537, len(text) - 1,
              len(text), len(text) + 5]  # fmt: skip
    for start in places:
        for count in (1, 2, 65536, 70_000, 4_000_000_000):
            line = raw.command(f"FETCH 1 BODY.PEEK[]<{start}.{count}>")[0]
            size = int(line[line.index(b"{") + 1 : line.index(b"}")])
            found = line[line.index(b"\r\n") + 2 :][:size]
            assert found == text[start : start + count], (start, count)
            assert b"BODY[]<%d> {" % start in line


def test_eight_bit_headers_and_bodies_come_back_as_they_went_in(cell: Cell, account: Account) -> None:
    text = "Subject: 生の件名 é\r\nFrom: a@example.org\r\n\r\n本文\r\n".encode("shift_jis", "replace") + bytes(
        range(128, 256)
    )
    cell.deliver(account, text)
    client = cell.imap(account)
    client.select()
    assert client.fetch("1", "(BODY.PEEK[])")[1][0][1] == text
    kind, data = client.fetch("1", "(ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    assert kind == "OK" and data


def test_flags_and_keywords_are_added_removed_and_replaced(client: IMAPClient, cell: Cell, account: Account) -> None:
    cell.deliver(account, message("1"), message("2"))
    client.select_folder("INBOX")
    assert client.add_flags([1, 2], [b"\\Flagged", b"$Label1"])[1] == (b"\\Recent", b"\\Flagged", b"$Label1")
    assert client.remove_flags([1], [b"\\Flagged"]) == {1: (b"\\Recent", b"$Label1")}
    assert client.set_flags([1], [b"\\Answered", b"NonJunk"]) == {1: (b"\\Recent", b"\\Answered", b"NonJunk")}
    assert client.add_flags([1], [b"nonjunk"]) == {1: (b"\\Recent", b"\\Answered", b"NonJunk")}
    assert client.add_flags([1], [b"\\Draft"], silent=True) is None
    assert set(client.get_flags([1])[1]) == {b"\\Recent", b"\\Answered", b"\\Draft", b"NonJunk"}
    assert client.search(["KEYWORD", "$Label1"]) == [2]
    assert client.search(["UNKEYWORD", "$Label1"]) == [1]
    info = client.select_folder("Sent")
    assert b"$Label1" in info[b"FLAGS"]


def test_keywords_are_refused_when_every_bit_is_taken(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("1"))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    raw.command(f"STORE 1 +FLAGS ({' '.join(f'k{n}' for n in range(59))})")
    assert b"\\*" not in raw.command("SELECT INBOX")[1]
    assert b" NO [LIMIT]" in raw.command("STORE 1 +FLAGS (k59)")[-1]
    assert b" OK " in raw.command("STORE 1 -FLAGS (k3)")[-1]


def test_copy_and_move_tell_the_uids(cell: Cell, account: Account) -> None:
    cell.deliver(account, *(message(f"{n}") for n in range(6)))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    raw.command("STORE 1 FLAGS (\\Flagged kw)")
    assert b"COPYUID" in raw.command("COPY 1:3,5 Archive")[-1]
    lines = raw.command("MOVE 2,4 Trash")
    assert lines[0].startswith(b"* OK [COPYUID ") and lines[0].split(b"]")[0].endswith(b" 2,4 1:2")
    assert lines[1:3] == [b"* 4 EXPUNGE\r\n", b"* 2 EXPUNGE\r\n"]
    assert b" OK " in raw.command("UID COPY 999 Trash")[-1]
    assert b" NO [TRYCREATE]" in raw.command("COPY 1 Nowhere")[-1]
    assert b" BAD " in raw.command("COPY 99 Trash")[-1]
    raw.command("SELECT Archive")
    assert raw.command("FETCH 1 FLAGS")[0] == b"* 1 FETCH (FLAGS (\\Recent \\Flagged kw))\r\n"


def test_expunge_uid_expunge_close_and_unselect(cell: Cell, account: Account) -> None:
    cell.deliver(account, *(message(f"{n}") for n in range(6)))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    raw.command("STORE 1:4 +FLAGS.SILENT (\\Deleted)")
    assert raw.command("UID EXPUNGE 2,5:6")[:-1] == [b"* 2 EXPUNGE\r\n"]
    assert raw.command("UID EXPUNGE 700")[:-1] == []
    assert raw.command("EXPUNGE")[:-1] == [b"* 3 EXPUNGE\r\n", b"* 2 EXPUNGE\r\n", b"* 1 EXPUNGE\r\n"]
    raw.command("STORE 1 +FLAGS (\\Deleted)")
    raw.command("UNSELECT")
    assert b"* 2 EXISTS\r\n" in raw.command("SELECT INBOX")
    assert raw.command("CLOSE")[:-1] == []
    assert b"* 1 EXISTS\r\n" in raw.command("SELECT INBOX")


# --- SEARCH ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def library(cell: Cell) -> Raw:
    account = cell.add_account()
    jis = "会議のお知らせ\r\n資料は添付します。\r\n".encode("iso-2022-jp") * 2000 + "最後の言葉\r\n".encode(
        "iso-2022-jp"
    )
    cell.deliver(account, message("plain one", b"The quick brown fox\r\n"))
    cell.deliver(
        account,
        message("=?ISO-2022-JP?B?GyRCMnE1RBsoQg==?=", jis, b"Content-Type: text/plain; charset=iso-2022-jp\r\n"),
    )
    cell.deliver(
        account,
        message("coded", b"VGhlIHNsb3cgZ3JlZW4gdHVydGxl\r\n", b"Content-Transfer-Encoding: base64\r\nX-Note: deep\r\n"),
        date=1_600_000_000,
    )
    cell.deliver(
        account,
        message(
            "html",
            b"<p>caf=E9</p>\r\n",
            b"Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n",
        ),
    )
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    raw.command("STORE 1 FLAGS (\\Seen)")
    return raw


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ("ALL", "1 2 3 4"), ("SEEN", "1"), ("UNSEEN 2:3", "2 3"), ("NOT UID 1", "2 3 4"), ("FROM a@example", "1 2 3 4"),
        ("SUBJECT plain", "1"), ("SUBJECT PLAIN", "1"), ("BODY \"brown fox\"", "1"), ("BODY turtle", "3"),
        ("TEXT deep", "3"), ("HEADER X-Note deep", "3"), ("HEADER X-Note \"\"", "3"), ("BEFORE 1-Jan-2021", "3"),
        ("SINCE 1-Jan-2021", "1 2 4"), ("SENTON 14-Nov-2023", "1 2 3 4"), ("LARGER 10000", "2"), ("SMALLER 10", ""),
        ("OR SUBJECT coded BODY fox", "1 3"), ("BODY zebra", ""), ("KEYWORD none", ""), ("RECENT", "1 2 3 4"),
        ("OLD", ""), ("NEW", "2 3 4"),
        ("BODY \"\"", "1 2 3 4"), ("NOT BODY fox", "2 3 4"), ("CC x", ""), ("*", "4"), ("SENTSINCE 15-Nov-2023", ""),
    ],
)  # fmt: skip
def test_search_finds_exactly(library: Raw, keys: str, found: str) -> None:
    assert library.command(f"SEARCH {keys}")[0].decode().split()[2:] == found.split()


@pytest.mark.parametrize(
    ("text", "found"), [("会議", "2"), ("資料は", "2"), ("最後の言葉", "2"), ("café", "4"), ("CAFÉ", "4"), ("議会", "")]
)
def test_search_finds_text_in_any_charset(library: Raw, text: str, found: str) -> None:
    octets = text.encode()
    library.send(b"S1 SEARCH CHARSET UTF-8 TEXT {%d+}\r\n" % len(octets) + octets + b"\r\n")
    assert library.until(b"S1 ")[0].decode().split()[2:] == found.split()


def test_search_answers_esearch_and_refuses_unknown_charsets(library: Raw) -> None:
    assert library.command("UID SEARCH RETURN (MIN MAX COUNT ALL) UNSEEN")[0].endswith(
        b"UID MIN 2 MAX 4 COUNT 3 ALL 2:4\r\n"
    )
    assert library.command("SEARCH RETURN () BODY zebra")[0].startswith(b"* ESEARCH (TAG")
    assert b"NO [BADCHARSET (" in library.command("SEARCH CHARSET KLINGON TEXT x")[-1]


# --- APPEND and IDLE -------------------------------------------------------------------------------------------------


def test_append_tells_where_the_message_went_and_keeps_flags_and_date(
    client: IMAPClient, cell: Cell, account: Account
) -> None:
    text = message("mine")
    answer = client.append("Sent", text, [b"\\Seen", b"$Mine"], datetime(2020, 2, 3, 4, 5, 6))
    assert b"APPENDUID" in answer
    client.select_folder("Sent")
    found = client.fetch([1], ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODY[]", "ENVELOPE"])[1]
    assert found[b"BODY[]"] == text and found[b"RFC822.SIZE"] == len(text)
    assert set(found[b"FLAGS"]) == {b"\\Recent", b"\\Seen", b"$Mine"}
    assert found[b"INTERNALDATE"] == datetime(2020, 2, 3, 4, 5, 6)
    assert found[b"ENVELOPE"].subject == b"mine"


def test_append_to_the_selected_mailbox_shows_it_at_once(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    text = message("big", b"x" * 5_000_000)
    raw.send(b"A APPEND INBOX (\\Draft) {%d+}\r\n" % len(text) + text + b"\r\n")
    lines = raw.until(b"A ")
    assert b"* 1 EXISTS\r\n" in lines and lines[-1].startswith(b"A OK [APPENDUID ")
    assert text in raw.command("FETCH 1 BODY[]")[0]
    raw.send(b"B APPEND INBOX {0}\r\n")
    assert raw.line().startswith(b"B NO ")


def test_idle_tells_arrivals_flags_and_expunges_as_they_happen(cell: Cell, account: Account) -> None:
    raw, other = cell.raw(account), cell.raw(account)
    raw.command("SELECT INBOX")
    raw.send(b"I IDLE\r\n")
    assert raw.line().startswith(b"+ ")
    cell.deliver(account, message("1"), message("2"))
    assert raw.until(b"* 2 EXISTS")
    other.command("SELECT INBOX")
    other.command("STORE 1 FLAGS (\\Deleted)")
    assert raw.until(b"* 1 FETCH")[-1] == b"* 1 FETCH (UID 1 FLAGS (\\Recent \\Deleted))\r\n"
    other.command("EXPUNGE")
    assert raw.until(b"* 1 EXPUNGE")
    raw.send(b"DONE\r\n")
    assert raw.until(b"I ")[-1].startswith(b"I OK")
    raw.send(b"J IDLE\r\nDONE\r\nK NOOP\r\n")
    assert raw.until(b"K OK")
    raw.send(b"L IDLE\r\n")
    raw.line()
    raw.send(b"L2 NOOP\r\n")
    assert raw.until(b"L ")[-1].startswith(b"L BAD")
    assert raw.command("NOOP")


def test_idle_shows_that_the_server_is_there(cell: Cell, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle.Waiting.next, "__defaults__", (0.05,))
    raw = cell.raw(account)
    raw.send(b"I IDLE\r\n")
    assert raw.until(b"* OK Still here")
    raw.send(b"DONE\r\n")
    assert raw.until(b"I OK")


def test_imaplib_and_imapclient_go_through_a_whole_session(cell: Cell, account: Account) -> None:
    cell.deliver(account, *(message(f"{n}") for n in range(3)))
    client = cell.imap(account)
    assert client.select() == ("OK", [b"3"])
    assert client.noop()[0] == client.check()[0] == "OK"
    assert client.status("INBOX", "(MESSAGES UNSEEN)") == ("OK", [b"INBOX (MESSAGES 3 UNSEEN 3)"])
    assert client.search(None, "ALL") == ("OK", [b"1 2 3"])
    assert client.uid("fetch", "1:*", "(FLAGS)")[0] == "OK"
    assert client.store("1", "+FLAGS", "\\Deleted")[1] == [b"1 (UID 1 FLAGS (\\Recent \\Deleted))"]
    assert client.expunge() == ("OK", [b"1"])
    assert client.namespace()[0] == "OK"
    assert client.close()[0] == "OK"
    assert client.logout()[0] == "BYE"


def test_sessions_beside_each_other_all_get_answers(cell: Cell, account: Account) -> None:
    cell.deliver(account, *(message(f"{n}") for n in range(20)))
    failures: list[object] = []

    def work() -> None:
        try:
            raw = cell.raw(account)
            raw.command("SELECT INBOX")
            for _ in range(10):
                assert len(raw.command("FETCH 1:* (FLAGS ENVELOPE BODY.PEEK[])")) == 21
            raw.command("LOGOUT")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
