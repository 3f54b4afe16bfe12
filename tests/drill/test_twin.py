"""A twin sits behind the same lock and edges as its compartment, poses as nobody, and goes with its stream."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.forked import OWN_UID

from bulkhead.config import load_installation
from bulkhead.drill import acts_reach
from bulkhead.drill.client import TwinClient
from bulkhead.drill.line import LINE_MAX, LineReader, encode_line
from bulkhead.drill.probes import act_named, load_probes
from bulkhead.drill.targets import canaries
from bulkhead.drill.twin import read_targets, write_targets
from bulkhead.errors import LineTooLong, PeerError, Refused
from bulkhead.supervisor.door import Ask, knock
from bulkhead.supervisor.layout import Layout
from bulkhead.supervisor.lock import Lock


def layout_of(live, tenant="t0"):
    return Layout(live.directory.resolve(), load_installation(live.directory).tenant(tenant).id)


def log_in(twin, mailbox):
    found = twin.ask("edges.log_in", address=mailbox.address, password=mailbox.password)
    assert found["answer"] == "succeeded", found
    return found


@given(st.binary(max_size=300), st.integers(0, 300))
def test_documents_do_not_depend_on_how_bytes_are_split(data, at):
    line = encode_line({"id": 1, "act": "x", "args": {"text": data.hex()}}) * 2
    reader, found = LineReader(), []
    for piece in (line[:at], line[at:]):
        reader.receive_data(piece)
        while (document := reader.next_document()) is not None:
            found.append(document)
    assert [d["args"]["text"] for d in found] == [data.hex()] * 2


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_errors_of_the_peer(data):
    reader = LineReader()
    reader.receive_data(data + b"\n")
    try:
        while reader.next_document() is not None:
            pass
    except PeerError:
        pass


def test_a_document_of_64_kib_passes_and_one_octet_more_does_not():
    base = len(encode_line({"x": ""}))
    assert len(encode_line({"x": "a" * (LINE_MAX - base)})) == LINE_MAX
    with pytest.raises(LineTooLong):
        encode_line({"x": "a" * (LINE_MAX - base + 1)})
    reader = LineReader()
    reader.receive_data(b"x" * LINE_MAX)
    with pytest.raises(LineTooLong):
        reader.next_document()


def test_targets_are_the_same_after_they_crossed_the_stream():
    lock = (
        Lock(root="/", keep_fds=frozenset(), uid=OWN_UID + 3, gid=OWN_UID + 3)
        if os.geteuid() == 0
        else Lock("/", frozenset())
    )
    with canaries(lock) as targets:
        crossed = read_targets(write_targets(targets))
    same = {"uid": lock.uid, "gid": lock.gid}
    assert replace(crossed, lock=replace(crossed.lock, **same)) == targets


def test_every_probe_is_found_by_the_name_that_a_twin_is_given():
    for probe in load_probes().values():
        name = f"{probe.act.__module__.rpartition('acts_')[2]}.{probe.act.__name__}"
        assert act_named(name) is probe.act


def test_a_twin_is_locked_and_has_the_edges_on_which_its_compartment_asks(live):
    with TwinClient(layout_of(live), "access") as twin:
        assert twin.ask("edge-names")["names"] == ["auth", "directory", "keyring", "store"]
        assert twin.ask("reach.read_file", path="/etc/hostname")["answer"] != "succeeded"
        assert acts_reach.attempt("read_file", {"path": "/etc/hostname"})["answer"] == "succeeded"
        for act in ("connect_tcp", "send_udp"):
            end = live.endpoints["t1"]
            assert twin.ask(f"reach.{act}", host=end.address, port=end.mx)["answer"] != "succeeded"
            assert acts_reach.attempt(act, {"host": end.address, "port": end.mx})["answer"] == "succeeded"
        assert twin.ask("reach.signal_process", pid=live.pid("t0", "store"))["answer"] != "succeeded"
        assert acts_reach.attempt("signal_process", {"pid": live.pid("t0", "store")})["answer"] == "succeeded"


def test_a_holders_twin_serves_nobody_so_that_mail_goes_on_while_it_lives(live):
    mailbox = live.mailbox()
    with TwinClient(layout_of(live), "store") as twin:
        assert twin.ask("edge-names")["names"] == ["ledger"]
        live.deliver(mailbox, "while a twin of store lives")
        live.wait_subject(mailbox, "while a twin of store lives")


def test_a_handle_opens_nothing_from_another_worker_and_a_stranger_s_message_stays(live):
    stranger, visitor = live.mailbox(), live.mailbox()
    live.deliver(stranger, "for my eyes only")
    live.wait_subject(stranger, "for my eyes only")
    with TwinClient(layout_of(live), "access") as honest, TwinClient(layout_of(live), "access") as twin:
        theirs, mine = log_in(honest, stranger), log_in(twin, visitor)
        before = honest.ask("edges.open_mail", handle=theirs["handle"], account=theirs["account"])
        assert before["opened"] == 1, "the control: its own worker opens it"
        own = honest.ask("edges.use_handle", handle=theirs["handle"])["tried"]
        assert own["list mailboxes"] == own["read quota"] == "succeeded", "the control: its own worker may"
        assert set(twin.ask("edges.use_handle", handle=theirs["handle"])["tried"].values()) == {"no-session"}
        for handle in (theirs["handle"], mine["handle"]):
            tried = twin.ask("edges.reach_mail", handle=handle, **before["example"])["tried"]
            assert "succeeded" not in tried.values(), tried
        after = honest.ask("edges.open_mail", handle=theirs["handle"], account=theirs["account"])
        assert after["opened"] == 1
        own = honest.ask("edges.reach_mail", handle=theirs["handle"], **before["example"])["tried"]
        assert set(own.values()) == {"succeeded"}, "the control: its own worker reads and deletes it"
        gone = honest.ask("edges.open_mail", handle=theirs["handle"], account=theirs["account"])
        assert gone["opened"] == 0


def test_guesses_through_honest_neighbours_bring_nothing(live):
    mailbox = live.mailbox()
    with TwinClient(layout_of(live), "access") as twin:
        assert twin.ask("edges.random_handles", count=100)["served"] == 0
        assert twin.ask("edges.redeem_guesses", count=10)["sessions"] == 0
        names = [mailbox.address, "nobody@t0.example", "nobody2@t0.example", "%"]
        assert twin.ask("edges.enumerate_logins", guesses=names)["told_apart"] == 0
        guessed = twin.ask("edges.guess_passwords", addresses=[mailbox.address], passwords=["password", "123456"])
        assert guessed["accepted"] == 0
        right = twin.ask("edges.guess_passwords", addresses=[mailbox.address], passwords=[mailbox.password])
        assert right["accepted"] == 1, "the control: the right one is accepted"
    with TwinClient(layout_of(live), "auth") as twin:
        assert twin.ask("edges.check_halves", count=10)["matched"] == 0


def test_one_forbidden_message_ends_the_twin_and_nobody_else(live):
    pids = {name: live.pid("t0", name) for name in ("directory", "store", "keyring", "auth", "mx")}
    twin = TwinClient(layout_of(live), "mx")
    twin.ask("edges.break_the_rules", compartment="directory")
    end = time.monotonic() + 30
    while twin.ask("edge-names")["answer"] != "ended":
        assert time.monotonic() < end, "the twin lives on"
        time.sleep(0.02)
    twin.close()
    assert pids == {name: live.pid("t0", name) for name in pids}


def test_a_twin_ends_with_its_stream(live):
    twin = TwinClient(layout_of(live), "submit")
    pid = twin.pid
    assert Path(f"/proc/{pid}").exists()
    twin.close()
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()
    assert not any(row["twin"] for row in live.processes("t0"))


def test_a_compartment_that_does_not_exist_has_no_twin(live):
    with pytest.raises(Refused):
        knock(str(layout_of(live).socket), Ask.TWIN, 63)
