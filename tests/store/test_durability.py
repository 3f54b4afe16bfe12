"""Acknowledged means durable: order of syncs, lost writes, failing disks, killed processes, torn tails."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
from pathlib import Path

import pytest
from tests.store.world import ACCESS, CLI, KEYRING, MX, STORE, World, copy_for, payload, running, stamp

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_store
from bulkhead.errors import Error, IntegrityError, TemporaryFailure
from bulkhead.identifiers import new_id
from bulkhead.store.disk import Disk
from bulkhead.store.process import open_store
from bulkhead.store.segment import path_of


class ForgetfulDisk(Disk):
    """Knows what of the segments would survive a power cut: synced bytes of files whose names are synced."""

    def __init__(self, *, skip: str = "") -> None:
        self.skip = skip
        self.paths: dict[int, str] = {}
        self.synced: dict[str, bytes] = {}
        self.named: set[str] = set()
        self.created: set[str] = set()

    def create(self, path: str) -> int:
        fd = super().create(path)
        self.paths[fd] = path
        self.created.add(path)
        return fd

    def fdatasync(self, fd: int) -> None:
        if self.skip != "fdatasync":
            super().fdatasync(fd)
            self.synced[self.paths[fd]] = Path(f"/proc/self/fd/{fd}").read_bytes()

    def fsync_directory(self, path: str) -> None:
        if self.skip != "fsync_directory":
            super().fsync_directory(path)
            if path == "segments":
                self.named |= self.created

    def survivor(self, directory: Path) -> None:
        """What a power cut at this moment would leave, SQLite's files as they are: it syncs them itself."""
        (directory / "segments").mkdir(parents=True)
        for name in ("store.sqlite", "store.sqlite-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(name, directory / name)
        for path in self.named.copy():
            if Path(path).exists():
                (directory / path).write_bytes(self.synced.get(path, b""))


async def load(world: World, rng: random.Random, cut) -> dict[bytes, bytes]:
    """Deliver and expunge at random; call `cut` now and then. EmailId to payload of what was acknowledged and kept."""
    accounts = [await world.account() for _ in range(3)]
    acknowledged: dict[bytes, bytes] = {}

    async def one() -> None:
        size = rng.choice([10, 3000, 40_000, 1_200_000])
        copy = copy_for(rng.choice(accounts), sealed=(20, 30, size))
        await world.deliver(copy)
        acknowledged[copy.email] = copy.account

    for round_ in range(12):
        tasks = [asyncio.create_task(one()) for _ in range(rng.randint(1, 10))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        cut(round_, dict(acknowledged))
        await asyncio.gather(*tasks)
    return acknowledged


async def verify(directory: Path, acknowledged: dict[bytes, bytes]) -> list[str]:
    """What is wrong with the store in `directory`, where these were acknowledged."""
    os.chdir(directory)
    async with running() as world:
        problems = list((await world.check()).problems)
        found = {email for (email,) in world.store.state.database.read("SELECT email FROM email")}
        return problems + ["lost" for email in acknowledged if email not in found]


@pytest.mark.parametrize("skip", ["", "fdatasync", "fsync_directory"])
def test_no_acknowledged_message_depends_on_an_unsynced_write(tmp_path, skip):
    cuts: list[tuple[Path, dict[bytes, bytes]]] = []

    async def main() -> None:
        disk = ForgetfulDisk(skip=skip)
        async with running(disk, segment_bytes=1 << 18) as world:

            def cut(number: int, acknowledged: dict[bytes, bytes]) -> None:
                directory = tmp_path / f"cut{number}"
                disk.survivor(directory)
                cuts.append((directory, acknowledged))

            await load(world, random.Random(4), cut)

    asyncio.run(main())
    problems = [problem for directory, known in cuts for problem in asyncio.run(verify(directory, known))]
    assert len(cuts) == 12
    assert bool(problems) == bool(skip)


class FailingDisk(Disk):
    failing = ""

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        if self.failing == "pwrite":
            raise OSError(28, "No space left on device")
        super().pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        if self.failing == "fdatasync":
            raise OSError(5, "Input/output error")
        super().fdatasync(fd)

    def create(self, path: str) -> int:
        if self.failing == "create":
            raise OSError(28, "No space left on device")
        return super().create(path)


@pytest.mark.parametrize("failing", ["pwrite", "fdatasync", "create"])
@pytest.mark.parametrize("sealed", [(40, 60, 200), (40, 60, 2 << 20)])
def test_a_failing_disk_refuses_for_now_and_loses_nothing(failing, sealed):
    async def main() -> None:
        disk = FailingDisk()
        async with running(disk, segment_bytes=1) as world:
            account = await world.account()
            first, second = copy_for(account), copy_for(account, sealed=sealed)
            await world.deliver(first)
            request_id = new_id()
            disk.failing = failing
            with pytest.raises(TemporaryFailure):
                await world.deliver(second, request_id=request_id)
            disk.failing = ""
            assert (await world.counts()).messages == 1
            await world.deliver(second, request_id=request_id)
            client = await world.session(account)
            assert [row[4] for row in (await client.columns()).values()] == [first.email, second.email]
            assert (await world.check()).problems == ()

    asyncio.run(main())


def test_a_large_message_written_before_a_failed_sync_is_not_committed_after_it():
    async def main() -> None:
        disk = FailingDisk()
        async with running(disk) as world:
            account = await world.account()
            copy = copy_for(account, sealed=(10, 10, 2 << 20))
            go_on = asyncio.Event()

            async def slow():
                data = payload(copy)
                yield data[: 1 << 20]
                await go_on.wait()
                yield data[1 << 20 :]

            large = asyncio.create_task(world.peer(MX).call(to_store.DeliverMail(stamp(), (copy,)), slow()))
            await asyncio.sleep(0.1)
            disk.failing = "fdatasync"
            with pytest.raises(TemporaryFailure):
                await world.deliver(copy_for(account))
            disk.failing = ""
            go_on.set()
            with pytest.raises(TemporaryFailure):
                await large
            await world.deliver(copy_for(account))
            assert (await world.counts()).messages == 1

    asyncio.run(main())


def test_a_torn_tail_is_waste_and_nothing_is_written_behind_it():
    async def main() -> None:
        async with running() as world:
            account = await world.account()
            await world.deliver(copy_for(account))
        with Path(path_of(1)).open("ab") as segment:
            segment.write(b"BHSG torn")
        async with running() as world:
            assert (await world.check()).problems == ()
            assert (await world.check()).unreferenced == 9
            await world.deliver(copy_for(account))
            assert [path.name for path in sorted(Path("segments").iterdir())] == ["0000000001.seg", "0000000002.seg"]
            assert (await world.check()).problems == ()

    asyncio.run(main())


def test_a_segment_that_a_crash_left_without_a_row_is_removed_at_the_next_start():
    async def main() -> None:
        async with running() as world:
            await world.deliver(copy_for(await world.account()))
        shutil.copy(path_of(1), path_of(2))
        async with running() as world:
            assert [path.name for path in Path("segments").iterdir()] == ["0000000001.seg"]
            await world.deliver(copy_for(await world.account()))
            assert Path(path_of(3)).exists()

    asyncio.run(main())


@pytest.mark.parametrize("harm", ["unlink", "empty"])
def test_a_store_that_lost_its_database_does_not_start(harm):
    async def main() -> None:
        async with running() as world:
            await world.deliver(copy_for(await world.account()))
        Path("store.sqlite").unlink() if harm == "unlink" else os.truncate("store.sqlite", 0)
        with pytest.raises(IntegrityError):
            async with running():
                pass
        assert Path(path_of(1)).exists()

    asyncio.run(main())


def test_a_store_whose_last_commits_are_lost_does_not_start(tmp_path):
    async def main() -> None:
        async with running() as world:
            account = await world.account()
            await world.deliver(copy_for(account))
            old = tmp_path / "old.sqlite"
            await world.store.state.database.truncate_wal()
            shutil.copy("store.sqlite", old)
            for _ in range(3):
                await world.deliver(copy_for(account))
        shutil.copy(old, "store.sqlite")
        with pytest.raises(IntegrityError):
            async with running():
                pass

    asyncio.run(main())


def serve_in_child(ends: dict) -> int:
    child = os.fork()
    if child:
        return child

    async def serve() -> None:
        exchange = Exchange(STORE, lambda *_: None)
        await open_store(exchange, Disk(), 1 << 20)
        for channel, (_, theirs) in ends.items():
            exchange.attach(theirs, channel, 1)
        await asyncio.Event().wait()

    with contextlib.suppress(BaseException):
        asyncio.run(serve())
    os._exit(1)


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_under_load_loses_no_acknowledged_message_and_repeats_none(tmp_path, seed):
    rng = random.Random(seed)
    acknowledged: dict[bytes, bytes] = {}
    offered: dict[bytes, tuple] = {}
    account = new_id()

    async def attack(ends: dict, child: int) -> None:
        exchanges = {channel: Exchange(channel, lambda *_: None) for channel in ends}
        for channel, (ours, theirs) in ends.items():
            theirs.close()
            exchanges[channel].attach(ours, STORE, 1)
        await exchanges[CLI].to("store").call(to_store.OpenAccount(stamp(), account, 0))
        edge = exchanges[MX].edge_to("store")
        unsure = [entry for email, entry in offered.items() if email not in acknowledged]

        async def one(entry=None) -> None:
            copy = copy_for(account, sealed=(30, 40, rng.choice([100, 5000, 1_500_000])))
            request, data = entry or (to_store.DeliverMail(stamp(), (copy,)), payload(copy))
            offered[request.copies[0].email] = (request, data)
            with contextlib.suppress(Error):
                await edge.call(request, data, 10)
                acknowledged[request.copies[0].email] = data

        for entry in unsure:
            await one(entry)
        work = [asyncio.create_task(one()) for _ in range(120)]
        await asyncio.sleep(rng.uniform(0.01, 0.08))
        os.kill(child, signal.SIGKILL)
        await asyncio.gather(*work)

    for _ in range(3):
        ends = {channel: socket.socketpair() for channel in (MX, CLI, KEYRING, ACCESS)}
        child = serve_in_child(ends)
        asyncio.run(attack(ends, child))
        os.waitpid(child, 0)

    async def verify_all() -> None:
        async with running() as world:
            assert (await world.check()).problems == ()
            client = await world.session(account)
            emails = [row[4] for row in (await client.columns()).values()]
            assert len(emails) == len(set(emails))
            assert acknowledged.keys() <= set(emails)
            assert set(emails) <= offered.keys()
            for email in rng.sample(sorted(acknowledged), min(20, len(acknowledged))):
                _, body = await client.open(to_store.ReadPart, email, 3)
                assert body == acknowledged[email][70:]

    assert acknowledged
    asyncio.run(verify_all())
