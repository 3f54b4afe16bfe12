"""What a store ships, applied elsewhere, is that store: after every group, across checkpoints, and cut anywhere."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.standby.shipped import ShippedStore, Standby

from bulkhead.store.restore import problems_of


def rows(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT seq, email, segment, offset FROM email ORDER BY seq").fetchall()
    finally:
        connection.close()


@pytest.fixture
def standby(tmp_path: Path) -> Standby:
    return Standby(tmp_path)


async def test_a_store_that_is_shipped_is_the_same_store_elsewhere(standby: Standby) -> None:
    async with ShippedStore(standby).running() as store:
        await store.deliver(20)
        stream = await store.begin()
        await store.deliver(20)
        await store.ship(stream)
        standby.take("store")
        assert rows(standby.home / "store.sqlite") == rows(store.home / "store.sqlite")
        for _ in range(5):
            await store.deliver(7)
            await store.state.database.truncate_wal()  # the log begins anew
            await store.deliver(300)  # past a checkpoint
            await store.ship(stream)
            standby.take("store")
            assert rows(standby.home / "store.sqlite") == rows(store.home / "store.sqlite")
    assert problems_of(standby.home) == (20 + 20 + 5 * 307, [])
