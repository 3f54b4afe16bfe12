"""kill -9 of every compartment and of a whole cell under load: what was acknowledged is there, and nothing twice."""

import asyncio
import os
import random
import re
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.durability.storm import Neighbour, Storm
from tests.live import Live, Mailbox

from bulkhead.boundary.messages.to_queue import CountQueue, QueueCounts
from bulkhead.cli.road import open_road
from bulkhead.errors import TemporaryFailure
from bulkhead.identifiers import TenantId
from bulkhead.supervisor.door import ask_status
from bulkhead.supervisor.layout import Layout

pytestmark = pytest.mark.timeout(240)
TREE = "the whole cell"
EACH_ONCE = (
    "store", "mx", "submit", "access", "queue", "courier", "directory", "auth", "keyring", "resolver", "dialer",
    "ledger", "incident", TREE,
)  # fmt: skip
MANY = 120
CALM_SECONDS = 8.0  # the neighbours' loops without kills
BETWEEN_SECONDS = 1.0  # from one recovery to the next kill
BACK_SECONDS = 30.0
DRAIN_SECONDS = 60.0
GAP_SECONDS = 1.0  # beyond the longest gap without kills

# Which deaths a client may notice as the end of its connection: its own gate's, and where it is logged in keyring's.
MAY_END = {
    "mx": {"mx", TREE}, "submit": {"submit", "keyring", TREE},
    "append": {"access", "keyring", TREE}, "read": {"access", "keyring", TREE},
}  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """What the storm left."""

    live: Live
    storm: Storm
    kills: list[tuple[float, str]]
    neighbours: list[Neighbour]
    calm: tuple[float, float]
    stormy: tuple[float, float]
    found: dict[str, list[tuple[int, str, bool]]]  # address to (UID, subject, flagged)
    uid_validity: dict[str, tuple[str, str]]
    unknown: int  # attempts whose outcome the queues counted as unknown


def state_of(live: Live, tenant: str) -> Any:
    return ask_status(str(Layout(live.directory.absolute(), TenantId(tenant)).socket))


def kill(live: Live, tenant: str, what: str) -> None:
    """kill -9, and wait until the cell is whole again."""
    status = state_of(live, tenant)
    if what == TREE:
        pids = [status["pid"], *status["images"].values(), *(row["pid"] for row in status["processes"])]
    else:
        pids = [row["pid"] for row in status["processes"] if row["compartment"] == what]
    for pid in pids:
        with suppress(ProcessLookupError):  # it died with its parent
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + BACK_SECONDS
    while time.monotonic() < end:
        time.sleep(0.05)
        with suppress(TemporaryFailure):
            now = state_of(live, tenant)
            if now["ready"] and not {row["pid"] for row in now["processes"]} & set(pids):
                return
    raise AssertionError(f"{what} did not come back")


def count_queue(live: Live, tenant: str) -> QueueCounts:
    async def ask() -> QueueCounts:
        async with open_road(str(live.directory), tenant) as road:
            return await road.ask("queue", CountQueue())

    return asyncio.run(ask())


def drain(live: Live) -> int:
    """Wait until every queue is empty; the attempts of unknown outcome that the queues counted."""
    end = time.monotonic() + DRAIN_SECONDS
    while True:
        counts = [count_queue(live, tenant) for tenant in live.tenants]
        if not any(found.messages for found in counts):
            return sum(found.unknown for found in counts)
        assert time.monotonic() < end, f"the queues do not drain: {counts}"
        time.sleep(0.5)


def fetch(live: Live, box: Mailbox) -> list[tuple[int, str, bool]]:
    """UID, subject and whether flagged, of every message in INBOX, in the server's order."""
    with live.imap(box) as imap:
        _, answer = imap.fetch("1:*", "(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    rows = []
    for item in answer:
        if isinstance(item, tuple):
            uid = re.search(rb"UID (\d+)", item[0])
            assert uid is not None, item
            subject = bytes(item[1]).decode().partition(":")[2].strip()
            rows.append((int(uid[1]), subject, b"\\Flagged" in item[0]))
    return rows


def validity(live: Live, box: Mailbox) -> str:
    with live.imap(box, "") as imap:
        return repr(imap.status("INBOX", "(UIDVALIDITY)")[1])


def weather(live: Live, deaths: list[str], calm_seconds: float) -> Outcome:
    """Load, neighbours, a calm, the deaths in turn, and then everything that is in the mailboxes."""
    victim, other, third = live.tenants
    ann, bob, cat = live.add(victim, ["ann", "bob", "cat"])
    dan, eve = live.add(other, ["dan", "eve"])
    (fay,) = live.add(third, ["fay"])
    boxes = [ann, bob, cat, dan]
    before = {box.address: validity(live, box) for box in boxes}
    storm = Storm(live)
    storm.deliver("mx one", [ann])
    storm.deliver("mx two", [bob, ann])
    storm.submit("submit own", bob, [cat])
    storm.submit("submit other", cat, [dan])
    storm.submit("submit both", cat, [ann, dan])
    storm.submit("inbound", dan, [bob])
    storm.append("append", ann)
    storm.read("read", bob)
    neighbours = [Neighbour(live, eve), Neighbour(live, fay)]
    time.sleep(2.0)
    start = time.monotonic()
    time.sleep(calm_seconds)
    calm = start, time.monotonic()
    kills = []
    for what in deaths:
        kills.append((time.monotonic(), what))
        kill(live, victim, what)
        time.sleep(BETWEEN_SECONDS)
    stormy = calm[1], time.monotonic()
    for neighbour in neighbours:
        neighbour.stop()
    storm.stop()
    unknown = drain(live)
    return Outcome(
        live, storm, kills, neighbours, calm, stormy,
        {box.address: fetch(live, box) for box in boxes},
        {box.address: (before[box.address], validity(live, box)) for box in boxes}, unknown,
    )  # fmt: skip


@pytest.fixture(scope="module")
def outcome() -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:  # short: a socket's path has 108 bytes
        live = Live(Path(directory) / "i", tenants=3)
        try:
            yield weather(live, list(EACH_ONCE), CALM_SECONDS)
        finally:
            live.stop()


def copies(outcome: Outcome) -> Counter[tuple[str, str]]:
    return Counter((address, subject) for address, rows in outcome.found.items() for _, subject, _ in rows)


def killed_before(outcome: Outcome, moment: float) -> str:
    """What had died last at that time."""
    return ([what for when, what in outcome.kills if when <= moment] or ["nothing"])[-1]


def check_all(outcome: Outcome) -> None:
    """Everything that must hold after any storm."""
    there, seconds, extra = copies(outcome), 0, 0
    handed = accepted = died = 0
    for letter, fate in outcome.storm.book.fates.items():
        found = there[letter.address, letter.name]
        handed, accepted, died = handed + fate.handed, accepted + fate.accepted, died + fate.died
        assert found >= fate.accepted, f"acknowledged and lost: {letter} {fate}"
        if letter.local:
            assert found <= fate.accepted + fate.died, f"more often than a reply was missing: {letter} {fate}: {found}"
        seconds += max(0, min(found, fate.accepted + fate.died) - 1)
        extra += max(0, found - fate.accepted - fate.died)
    print(
        f"\n{handed} copies handed over, {accepted} accepted, {died} without reply; {len(outcome.kills)} kills; "
        f"second copies: {seconds} after a missing reply, {extra} between cells; {outcome.unknown} attempts unknown"
    )
    assert extra <= outcome.unknown, "second copies between cells that no queue counted"
    strangers = set(there) - {(letter.address, letter.name) for letter in outcome.storm.book.fates}
    assert not strangers


def check_uids(outcome: Outcome) -> None:
    for address, rows in outcome.found.items():
        uids = [uid for uid, _, _ in rows]
        assert uids == sorted(set(uids)), f"UIDs of {address} do not strictly increase"
        assert len(set(outcome.uid_validity[address])) == 1
    first: dict[tuple[str, str], int] = {}
    for address, rows in outcome.found.items():
        for uid, subject, _ in reversed(rows):
            first[address, subject] = uid
    for address, names in outcome.storm.book.order:
        found = [first[address, name] for name in names]
        assert found == sorted(found), f"{address}: a later acknowledgement has a lower UID"


def check_flags(outcome: Outcome) -> None:
    flagged = {subject for rows in outcome.found.values() for _, subject, is_flagged in rows if is_flagged}
    assert outcome.storm.book.flagged <= flagged


def check_neighbours(outcome: Outcome) -> None:
    errors = [error for neighbour in outcome.neighbours for error in neighbour.errors]
    assert not errors
    for neighbour in outcome.neighbours:
        calm, stormy = neighbour.gap(*outcome.calm), neighbour.gap(*outcome.stormy)
        print(f"\n{neighbour.box.tenant}: {len(neighbour.done)} rounds, gap {calm:.2f} s, with kills {stormy:.2f} s")
        assert stormy <= calm + GAP_SECONDS


def test_every_acknowledged_transaction_is_there_and_second_copies_only_for_missing_replies(
    outcome: Outcome,
) -> None:
    check_all(outcome)


def test_every_road_was_in_use_while_processes_died(outcome: Outcome) -> None:
    accepted: Counter[tuple[str, bool]] = Counter()
    for letter, fate in outcome.storm.book.fates.items():
        accepted[letter.road, letter.local] += fate.accepted
    print(f"\n{dict(accepted)}")
    assert all(accepted[road] >= 50 for road in (("mx", True), ("submit", True), ("submit", False), ("append", True)))
    assert {what for _, what in outcome.kills} == set(EACH_ONCE)


def test_uids_strictly_increase_in_the_order_of_acknowledgement(outcome: Outcome) -> None:
    check_uids(outcome)


def test_flags_that_were_acknowledged_are_set(outcome: Outcome) -> None:
    assert outcome.storm.book.flagged
    check_flags(outcome)


def test_every_cell_is_sound_after_the_storm(outcome: Outcome) -> None:
    for tenant in outcome.live.tenants:
        outcome.live.command("fsck", tenant)


def test_clients_of_other_cells_notice_nothing(outcome: Outcome) -> None:
    check_neighbours(outcome)


def test_connections_end_only_where_their_gate_or_their_sessions_keyring_died(outcome: Outcome) -> None:
    wrong = []
    for moment, client, why in outcome.storm.book.ended:
        kind = "submit" if client.startswith(("submit", "inbound")) else client.split()[0]
        what = killed_before(outcome, moment)
        if what not in MAY_END[kind] or client == "inbound":
            wrong.append((client, what, why))
    assert not wrong


def test_the_death_of_a_holder_is_a_pause_and_no_refusal(outcome: Outcome) -> None:
    refused = [(who, killed_before(outcome, moment), why) for moment, who, why in outcome.storm.book.refusals]
    assert not [row for row in refused if row[1] not in {"keyring", TREE}]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a process that dies again and again is started again ever later, up to 10 s
def test_nothing_is_lost_in_more_than_a_hundred_random_deaths() -> None:
    chance = random.Random(7)
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:
        live = Live(Path(directory) / "i", tenants=3)
        try:
            outcome = weather(live, [chance.choice(EACH_ONCE) for _ in range(MANY)], CALM_SECONDS)
            check_all(outcome)
            check_uids(outcome)
            check_flags(outcome)
            check_neighbours(outcome)
            for tenant in live.tenants:
                live.command("fsck", tenant)
        finally:
            live.stop()
