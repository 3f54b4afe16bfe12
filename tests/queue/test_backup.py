"""What queue gives into a backup comes back whole; a message delivered while it was read does not come back."""

import asyncio
from pathlib import Path

import pytest
from tests.queue.queue_host import QueueHost

from bulkhead.boundary.messages.to_queue import BeginBackup
from bulkhead.queue import restore
from bulkhead.queue.backup import QueueSource


def test_queued_messages_come_back_but_for_those_that_went_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    monkeypatch.chdir(here)

    async def main() -> None:
        host = QueueHost(here).open()
        _, gone = await host.enqueue(size=300_000), await host.enqueue()
        source = QueueSource(host.service.queue, BeginBackup("b"))
        await host.enqueue()
        source.prepare()
        source.prepared()
        host.service.queue.files.remove(gone)
        for part in source.parts():
            path = there / part.name
            path.parent.mkdir(parents=True, exist_ok=True)
            content = b"".join(part.pieces())
            assert len(content) == part.size
            path.write_bytes(content)
        source.close()
        await host.close()
        assert await restore.finish(there) == 1
        again = QueueHost(there).open()
        report = await again.check()
        assert (report.messages, report.problems) == (1, ())
        await again.close()

    asyncio.run(main())
