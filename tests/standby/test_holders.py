"""Beside store: what queue and ledger ship is a queue with its messages, and a log that opens, after every piece."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.queue.queue_host import QueueHost, body_of, message
from tests.standby.shipped import KEYS, STREAM, TENANT, settings

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages import to_ledger, to_queue
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.terms import Channel
from bulkhead.holder.backup import Backups
from bulkhead.holder.standby import Standby
from bulkhead.identifiers import new_id
from bulkhead.ledger import log as log_module
from bulkhead.ledger import process
from bulkhead.ledger.create import LOG, create_keys, origin_of, signer_of
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import create_log, open_log
from bulkhead.queue.standby import ship
from bulkhead.records.lease import LeaseAsk, grant_lease
from bulkhead.standby.follow import Follower
from bulkhead.standby.place import Place


class There:
    """A place and a follower of one compartment, fed by its holder without an edge."""

    def __init__(self, base: Path, compartment: str) -> None:
        self.place, self.compartment, self.after = Place(base / "place", TENANT), compartment, 0
        self.home = base / "there" / compartment
        self.follower = Follower(
            self.place, (compartment,), KEYS, lambda c: base / "there" / c, base / "state", lambda *_: None
        )

    async def begin(self, standby: Standby, request: Any) -> None:
        self.standby = standby
        self.folder = self.place.stream(self.compartment, request.stream)
        self.folder.begin((await standby.begin(request)).lead)

    async def ship(self) -> None:
        while piece := await self.standby.shipping.next(self.folder.path.name, self.after, 0):
            self.after += 1
            self.folder.add(self.after, piece)
            self.follower.take(self.compartment)


def leased(standby: Standby, compartment: str) -> None:
    ask = LeaseAsk(TENANT, 0, 100, {compartment: standby.lease.ask()}).encode()
    standby.lease.take(ask, grant_lease(KEYS.signing, ask))


async def enqueue(host: QueueHost, size: int = 500) -> bytes:
    done = await host.ask(message(queue_id := new_id(), size=size), "submit", body_of(queue_id, size))
    assert done.until
    return queue_id


async def test_a_queue_goes_on_elsewhere_with_its_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    host = QueueHost(Path()).open()
    queue = host.service.queue
    queue.backups = Backups(Host(Channel("queue", 0, 1), TENANT, settings(), host.exchange), None)  # type: ignore[arg-type]  # no backup is taken
    ship(Host(Channel("queue", 0, 1), TENANT, settings(), host.exchange), queue)
    standby = queue.backups.standby
    assert isinstance(standby, Standby)
    leased(standby, "queue")
    there = There(tmp_path, "queue")
    await enqueue(host)
    await there.begin(standby, to_queue.BeginStandby(STREAM.format(1)))
    await there.ship()
    sent = await enqueue(host, 200_000)
    await enqueue(host)
    await there.ship()
    queue.files.remove(sent)
    await queue.database.write(lambda c: c.execute("DELETE FROM message WHERE queue_id = ?", (sent,)).rowcount)
    await there.ship()
    standby.lease.end()
    taken = await host.peers["courier"].to("queue").call(to_queue.TakeWork(10))
    assert taken.items == ()  # the standby may be sending it
    await host.close()
    again = QueueHost(there.home).open()
    report = await again.check()
    assert (report.messages, report.problems) == (2, ())
    await again.close()


async def test_a_log_opens_elsewhere_after_every_piece_with_what_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "JOURNAL_ENTRIES", 256)  # tiles are made often
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    keys, origin = create_keys(), origin_of(TENANT)
    Path("keys.sealed").write_bytes(keys.seal(TENANT, "ledger", 1, bytes(32)))
    LOG.mkdir()
    create_log(DirectoryFiles(str(LOG)), signer_of(keys, origin), origin)
    me = Channel("ledger", 0, 1)
    exchange = Exchange(me, lambda *_: None)
    given = settings()
    given["pinned"]["ledger_witness"] = ""
    given["ledger"] = {"origin": "", "late_seconds": 60, "alive_seconds": 600}
    service: Any = await process.start(Host(me, TENANT, given, exchange, root_key=bytes(32)))
    ledger = service._ledger
    there = There(tmp_path, "ledger")
    await there.begin(ledger.backups.standby, to_ledger.BeginStandby(STREAM.format(1)))
    await there.ship()
    event = to_ledger.Event("CellStarted", 1, "test", b"", {})
    for number in range(8):
        for _ in range(2):
            await ledger.append(me, to_ledger.AppendEvents(Stamp.fresh("test"), (event,) * 100))
        await there.ship()
        shutil.copytree(there.home / LOG, copy := tmp_path / f"copy{number}")
        opened = open_log(DirectoryFiles(str(copy)), signer_of(keys, origin), origin)
        assert (opened.size, opened.root) == (ledger.log.size, ledger.log.root)
        opened.close()
    await service.stop()
    exchange.close()
    assert (there.home / LOG / "tile").exists()
