import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.store.world import World, running

Run = Callable[[Callable[[World], Awaitable[Any]]], Any]


@pytest.fixture(autouse=True)
def data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The store's working directory, as after chroot."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@pytest.fixture
def run() -> Run:
    """Runs a coroutine function with a store; afterwards the store must pass its own deep check."""

    def go(scenario: Callable[[World], Awaitable[Any]], **options: Any) -> Any:
        async def main() -> Any:
            async with running(**options) as world:
                result = await scenario(world)
                report = await world.check()
                assert report.problems == ()
                assert world.violations == []
                return result

        return asyncio.run(main())

    return go
