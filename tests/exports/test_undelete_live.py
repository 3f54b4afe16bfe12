"""`account undelete` of a running cell: what a subscriber deleted over IMAP is back under its name, as it was."""

import json
import signal
import time
from collections.abc import Iterator

import pytest
from tests.live import Live

from bulkhead.wire.imap.mailbox_name import encode_utf7

NAME = encode_utf7("仕事/見積り").decode()
LETTER = b"Subject: kept\r\n\r\n\xe3\x81\x82\r\n"


@pytest.fixture
def keeping(live: Live) -> Iterator[Live]:
    """With retention in t1 alone."""
    for days in (30, 0):
        live.set("t1", "store.undelete_days", days)
        live.running.process.send_signal(signal.SIGHUP)
        if days:
            yield live


def test_a_deleted_folder_and_an_expunged_message_come_back(keeping: Live) -> None:
    live, mailbox = keeping, keeping.mailbox("t1")
    end = time.monotonic() + 60
    listed: list[dict[str, object]] = []
    with live.imap(mailbox) as client:
        while not listed and time.monotonic() < end:  # until the reload has reached store
            client.append("INBOX", "(\\Flagged)", None, LETTER)  # type: ignore[arg-type]
            client.noop()
            client.store("1:*", "+FLAGS", "(\\Deleted)")
            client.expunge()
            listed = live.json("account", "undelete", "t1", mailbox.address, "--list")["folders"]
        client.create(NAME)
        client.append(NAME, "(\\Seen)", None, LETTER)  # type: ignore[arg-type]
        client.delete(NAME)
        told = live.json("account", "undelete", "t1", mailbox.address, "--reason", "asked by telephone")
        assert told["returned"] == 2 and {row["gone"] for row in told["folders"]} == {True, False}
        client.noop()
        assert b"\\Flagged)" in client.fetch("1", "(FLAGS)")[1][0]  # type: ignore[operator]
        assert client.fetch("1", "(BODY.PEEK[])")[1][0][1] == LETTER  # type: ignore[index]
        assert client.select(f'"{NAME}"')[1] == [b"1"]
        assert client.fetch("1", "(BODY.PEEK[])")[1][0][1] == LETTER  # type: ignore[index]
    entries = live.json("ledger", "t1", "list")["entries"]
    (event,) = [json.loads(entry["details"]) for entry in entries if entry["kind"] == "MessagesUndeleted"]
    assert (event["messages"], event["reason"]) == (2, "asked by telephone")
    assert live.json("account", "undelete", "t1", mailbox.address)["returned"] == 0
    live.command("fsck", "t1", "--deep")
