"""Forwards between two whole cells, every process locked: each is another server to the other."""

import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live import Live, Mailbox

from bulkhead.boundary.messages.to_directory import NoticeKind
from bulkhead.courier.notices import SUBJECTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with tempfile.TemporaryDirectory() as directory:
        running = Live(Path(directory) / "i", 2, {"directory.forwards_elsewhere_max": 2})
        yield running
        running.stop()


def forward(live: Live, of: Mailbox, *words: str) -> None:
    live.command("account", "forward", of.tenant, of.address, *words)


def subjects(live: Live, of: Mailbox) -> list[str]:
    """Without what the account is told of its forward, whenever that comes."""
    return [one for one in live.subjects(of) if one not in SUBJECTS.values()]


def emptied(live: Live, *tenants: str) -> None:
    """Wait until nothing is queued anywhere: in a circle the last copy comes when both are empty."""
    end = time.monotonic() + 60
    while any(live.json("queue", tenant, "list")["messages"] for tenant in tenants):
        assert time.monotonic() < end, "mail still waits"
        time.sleep(0.2)


def test_mail_goes_on_to_the_other_server_a_circle_of_two_ends_and_both_are_told_of_their_forwards(live: Live) -> None:
    one, two = live.mailbox("t0"), live.mailbox("t1")
    forward(live, one, two.address, "--no-copy")
    live.deliver(one, "onward")
    live.wait_subject(two, "onward")
    assert subjects(live, one) == []
    forward(live, two, one.address, "--no-copy")
    live.deliver(one, "circle")
    live.wait_subject(one, "circle")
    emptied(live, "t0", "t1")
    assert (subjects(live, one), subjects(live, two)) == (["circle"], ["onward"])
    for told in (one, two):
        live.wait_subject(told, SUBJECTS[NoticeKind.FORWARD_SET])


def test_a_subscribers_mail_to_somebody_who_forwards_goes_on_too(live: Live) -> None:
    sender, one, two = live.mailbox("t0"), live.mailbox("t0"), live.mailbox("t1")
    forward(live, one, two.address)
    with live.submission(sender) as client:
        text = f"From: {sender.address}\r\nTo: {one.address}\r\nSubject: within\r\n\r\nx\r\n"
        client.sendmail(sender.address, [one.address], text)
    live.wait_subject(two, "within")
    live.wait_subject(one, "within")


def test_what_the_other_server_refuses_is_in_the_mailbox_with_its_notification(live: Live) -> None:
    one = live.mailbox("t0")
    forward(live, one, "nobody@t1.example", "--no-copy")
    live.deliver(one, "refused", "the only copy")
    end = time.monotonic() + 60
    while not subjects(live, one):
        assert time.monotonic() < end
        time.sleep(0.2)
    with live.imap(one) as client:
        _, answer = client.uid("FETCH", "1:*", "(BODY.PEEK[])")
    texts = [bytes(item[1]) for item in answer if isinstance(item, tuple)]
    (text,) = [one for one in texts if SUBJECTS[NoticeKind.FORWARD_SET].encode() not in one]
    assert b"the only copy" in text and b"5.1.1" in text


def test_closing_them_sends_nothing_on_and_keeps_the_mail(live: Live) -> None:
    one, two = live.mailbox("t0"), live.mailbox("t1")
    forward(live, one, two.address, "--no-copy")
    live.set("t0", "directory.forwards_elsewhere_max", 0)
    live.running.process.send_signal(signal.SIGHUP)
    try:
        end = time.monotonic() + 30
        while "kept" not in subjects(live, one):  # the reload reaches directory a moment later
            assert time.monotonic() < end
            live.deliver(one, "kept")
    finally:
        live.set("t0", "directory.forwards_elsewhere_max", 2)
        live.running.process.send_signal(signal.SIGHUP)
