"""kill -9 while clients of every kind deliver, append, flag, copy, move, expunge, rename, drain, idle and come back.

Each client keeps a model of what was acknowledged to it (filer.py, onlookers.py, storm.py), and compares it with what
is there after every reply that never came, from time to time, and at the end.
"""

import contextlib
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.durability.filer import Filer
from tests.durability.imap_session import Imap, fetched
from tests.durability.onlookers import Drainer, Watcher
from tests.durability.storm import Neighbour, Storm
from tests.durability.tally import Tally
from tests.durability.test_kills import BACK_SECONDS, TREE, drain, state_of
from tests.live import Live, Mailbox

from bulkhead.boundary.processes import PROCESSES
from bulkhead.config.values import Value
from bulkhead.errors import TemporaryFailure

IMAGES = ("front image", "vault image")
SUPERVISOR = "supervisor"
QUICK = (
    "store", "access", "auth", "mx", "store", "queue", "submit", "keyring", "access", "directory", "vault image", TREE,
)  # fmt: skip
MANY = 200
UNHEALED = 0.3  # of the deaths come while the one before is not yet healed
ENDS_SESSIONS = {"access", "keyring", TREE, SUPERVISOR, *IMAGES}
BRIEF = 0.005  # seconds between commands of a filer: about half of the time one is on its way
BEFORE_SECONDS = 10.0  # of a session's end: what may have caused it
SETTINGS: dict[str, Value] = {
    "access.workers": 2, "mx.workers": 2, "store.segment_bytes": 2 << 20, "store.dead_percent_max": 10,
    "store.compact_period_seconds": 2, "queue.retry_max_seconds": 5,
}  # fmt: skip


@dataclass(slots=True)
class Storms:
    """All clients of one storm, and what was killed when."""

    live: Live
    storm: Storm
    filers: list[Filer]
    watchers: list[Watcher]
    drainer: Drainer
    tally: Tally
    neighbour: Neighbour
    kills: list[tuple[float, str]]
    calm: tuple[float, float]
    stormy: tuple[float, float] = (0.0, 0.0)
    unknown: int = 0
    compacted: int = 0  # segment files that were there and went


def begin(live: Live, calm_seconds: float) -> Storms:
    """The load on both tenants, and some time without deaths."""
    ann, bob, cat, pat = live.add("t0", ["ann", "bob", "cat", "pat"])
    dan, eve = live.add("t1", ["dan", "eve"])
    storm = Storm(live)
    filers = [
        Filer(live, ann, "work", inbox=True, seed=1), Filer(live, ann, "desk", inbox=False, seed=2),
        Filer(live, bob, "work", inbox=True, seed=3), Filer(live, dan, "work", inbox=True, seed=4),
    ]  # fmt: skip
    watchers = [Watcher(live, ann, "INBOX"), Watcher(live, bob, "work/keep"), Watcher(live, dan, "INBOX")]
    drainer, tally = Drainer(live, pat), Tally(live, bob)
    tally.begin()
    storm.deliver("mx data", [ann, pat])
    storm.deliver("mx bdat", [bob, pat], chunked=True)
    storm.deliver("mx other", [dan], chunked=True)
    storm.submit("submit data", bob, [ann, dan])
    storm.submit("submit bdat", cat, [pat, bob], chunked=True)
    storm.submit("inbound", dan, [ann])
    for number, filer in enumerate(filers):
        storm.start(f"filer {number} {filer.box.tenant}", lambda box=filer.box: Imap(live, box), filer.turn, BRIEF)
    for number, watcher in enumerate(watchers):
        storm.start(
            f"watcher {number} {watcher.box.tenant}",
            lambda watcher=watcher: contextlib.nullcontext(watcher.connect()),
            watcher.turn,
        )
    for number in range(3):
        storm.start(f"tally {number} t0", tally.connect, tally.turn)
    storm.start("drainer t0", contextlib.nullcontext, lambda _: drainer.turn())
    neighbour = Neighbour(live, eve)
    start = time.monotonic()
    time.sleep(calm_seconds)
    return Storms(live, storm, filers, watchers, drainer, tally, neighbour, [], (start, time.monotonic()))


def pids_of(live: Live, what: str, chance: random.Random) -> list[int]:
    """Of one worker of a compartment, of an image, of the supervisor of the cell, or of all of it."""
    status = state_of(live, "t0")
    rows = [row for row in status["processes"] if row["pid"]]
    if what == TREE:
        return [status["pid"], *filter(None, status["images"].values()), *(row["pid"] for row in rows)]
    if what == SUPERVISOR:
        return [status["pid"]]
    if what in IMAGES:
        return list(filter(None, [status["images"][what.removesuffix(" image")]]))
    pids = [row["pid"] for row in rows if row["compartment"] == what]
    return [chance.choice(pids)] if pids else []


def strike(live: Live, what: str, chance: random.Random) -> list[int]:
    """kill -9, as soon as there is something to kill; its pids."""
    end = time.monotonic() + BACK_SECONDS
    pids: list[int] = []
    while not pids:
        assert time.monotonic() < end, f"{what} did not come back"
        with contextlib.suppress(TemporaryFailure):  # the supervisor was killed a moment ago
            pids = pids_of(live, what, chance)
        time.sleep(0 if pids else 0.02)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return pids


def wait_whole(live: Live, gone: Sequence[int]) -> None:
    """Until the cell is ready, and none of those is in it."""
    end = time.monotonic() + BACK_SECONDS
    while time.monotonic() < end:
        time.sleep(0.05)
        with contextlib.suppress(TemporaryFailure):
            now = state_of(live, "t0")
            there = {now["pid"], *now["images"].values(), *(row["pid"] for row in now["processes"])}
            if now["ready"] and not there & set(gone):
                return
    raise AssertionError(f"{gone} did not come back")


def segments(live: Live) -> set[str]:
    return {str(path) for path in live.directory.glob("cells/*/store/segments/**/*") if path.is_file()}


def kill_all(storms: Storms, deaths: Sequence[str], chance: random.Random) -> None:
    """The deaths in turn; some come while the one before is not yet healed."""
    gone: list[int] = []
    seen = segments(storms.live)
    for what in deaths:
        gone += strike(storms.live, what, chance)
        storms.kills.append((time.monotonic(), what))
        if chance.random() < UNHEALED:
            time.sleep(chance.random() * 0.2)
            continue
        wait_whole(storms.live, gone)
        gone = []
        time.sleep(0.1 + chance.random() * 0.9)
        now = segments(storms.live)
        storms.compacted += len(seen - now)
        seen = now
    wait_whole(storms.live, gone)
    storms.stormy = storms.calm[1], time.monotonic()


def finish(storms: Storms) -> None:
    """Stop the load, and let every client take its last look."""
    storms.neighbour.stop()
    storms.storm.stop()
    storms.unknown = drain(storms.live)
    for filer in storms.filers:
        filer.finish(storms.live)
    for watcher in storms.watchers:
        watcher.finish()
    storms.tally.finish()
    with contextlib.suppress(OSError):
        storms.drainer.turn()


def inventory(live: Live, box: Mailbox) -> Counter[str]:
    """Every message of an account by its subject, over all mailboxes."""
    there: Counter[str] = Counter()
    with Imap(live, box) as imap:
        names = [line.text.split(b'"/"')[1].strip() for line in imap.command(b'LIST "" "*"').lines]
        for name in names:
            assert imap.command(b"EXAMINE " + name).status == "OK"
            answer = imap.command(b"UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            for found in filter(None, map(fetched, answer.lines)):
                there[found.literal.decode().partition(":")[2].strip()] += 1
    return there


def check_letters(storms: Storms) -> str:
    """Every letter is there as often as it was accepted, and a second time only where a reply was missing."""
    fates = storms.storm.book.fates
    boxes = {box.address: box for box in [*(filer.box for filer in storms.filers), storms.drainer.box]}
    there = {address: inventory(storms.live, box) for address, box in boxes.items()}
    removed: dict[str, Counter[str]] = {address: Counter() for address in boxes}
    for client in (*storms.filers, storms.drainer):
        removed[client.box.address].update(client.removed)
    accepted = died = seconds = between = lost = 0
    wrong = []
    for letter, fate in fates.items():
        found = there[letter.address][letter.name] + removed[letter.address][letter.name]
        accepted, died = accepted + fate.accepted, died + fate.died
        lost += max(0, fate.accepted - found)
        extra = max(0, found - fate.accepted - fate.died)
        seconds += max(0, min(found, fate.accepted + fate.died) - 1)
        between += extra
        if found < fate.accepted or (letter.local and extra):
            wrong.append(f"{letter} {fate}: {found}")
    assert not wrong
    assert between <= storms.unknown, "second copies between cells that no queue counted"
    known = {(letter.address, letter.name) for letter in fates}
    strangers = [(address, name) for address, names in there.items() for name in names]
    assert not [row for row in strangers if row not in known and "/" not in row[1]]
    return (
        f"{accepted} letters accepted, {died} without reply, {lost} lost; second copies: {seconds} after a missing "
        f"reply, {between} between cells ({storms.unknown} attempts unknown)"
    )


def check_clients(storms: Storms) -> None:
    """No client saw what must not be, and sessions ended only with their gate or with keyring."""
    faults = [*storms.storm.book.faults, *storms.drainer.faults, *storms.tally.faults, *storms.neighbour.errors]
    for client in (*storms.filers, *storms.watchers):
        faults += client.faults
    assert not faults, "\n".join(faults)
    wrong = []
    for moment, client, why in storms.storm.book.ended:
        causes = {what for when, what in storms.kills if moment - BEFORE_SECONDS <= when <= moment}
        session = client.startswith(("filer", "watcher", "tally", "drainer")) and why.startswith("Ended")
        if session and (client.endswith("t1") or not causes & ENDS_SESSIONS):
            wrong.append((client, causes, why))
    assert not wrong


def report(storms: Storms, letters: str) -> str:
    """The numbers."""
    done: Counter[str] = Counter()
    for filer in storms.filers:
        done.update(filer.acknowledged)
    undecided = sum(filer.undecided for filer in storms.filers) + storms.drainer.undecided
    refused = sum(len(filer.refusals) for filer in storms.filers)
    tally = storms.tally
    neighbour, (start, end) = storms.neighbour, storms.stormy
    return (
        f"\n{len(storms.kills)} kills in {end - start:.0f} s: {dict(Counter(what for _, what in storms.kills))}\n"
        f"{letters}\n{done.total()} commands of filers acknowledged: {dict(done)}\n"
        f"{storms.drainer.quits} maildrops emptied; {undecided} replies missing, "
        f"{sum(filer.landed for filer in storms.filers)} of those changes made; "
        f"{refused} refused; {sum(filer.checks for filer in storms.filers)} QRESYNC views compared, "
        f"{sum(watcher.told for watcher in storms.watchers)} changes told to watchers, "
        f"{sum(watcher.resyncs for watcher in storms.watchers)} times anew; {storms.compacted} segments went\n"
        f"counted together: {tally.acknowledged} acknowledged, {tally.modified} times another was ahead, "
        f"{tally.missing} without reply\n"
        f"the other tenant: {len(neighbour.done)} rounds, {len(neighbour.errors)} errors, longest gap "
        f"{neighbour.gap(*storms.calm):.2f} s, with kills {neighbour.gap(*storms.stormy):.2f} s"
    )


def weather(deaths: Sequence[str], chance: random.Random, calm_seconds: float) -> Storms:
    """One storm with these deaths, and everything that must hold after it."""
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:  # short: a socket's path has 108 bytes
        live = Live(Path(directory) / "i", 2, SETTINGS)
        try:
            storms = begin(live, calm_seconds)
            try:
                kill_all(storms, deaths, chance)
            finally:
                storms.storm.stopping.set()
            finish(storms)
            check_clients(storms)
            print(report(storms, check_letters(storms)))
            for tenant in live.tenants:
                live.command("fsck", "--deep", tenant)
        finally:
            live.stop()
    return storms


@pytest.fixture(scope="module")
def storms() -> Iterator[Storms]:
    yield weather(QUICK, random.Random(5), 3.0)


def test_what_was_acknowledged_holds_and_what_was_not_is_whole_or_absent(storms: Storms) -> None:
    assert len(storms.kills) == len(QUICK)
    acknowledged = Counter(kind for filer in storms.filers for kind in filer.acknowledged)
    assert {"append", "store", "move", "rename"} <= acknowledged.keys()


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_two_hundred_deaths_under_mixed_load_lose_and_double_nothing() -> None:
    chance = random.Random(11)
    kinds = [*PROCESSES, *PROCESSES, TREE, SUPERVISOR, *IMAGES]
    storms = weather([chance.choice(kinds) for _ in range(MANY)], chance, 8.0)
    assert len(storms.kills) == MANY
