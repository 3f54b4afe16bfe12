"""The cell that the tests of one module share; each takes an account of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.access.cell import Account, Cell


@pytest.fixture(scope="module")
def cell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    """On uvloop, as in the front image; a module that looks into the loop sets PLAIN_LOOP."""
    before = Path.cwd()
    running = Cell(tmp_path_factory.mktemp("cell"), uv=not getattr(request.module, "PLAIN_LOOP", False))
    try:
        yield running
        running.check()
    finally:
        running.close()
        os.chdir(before)


@pytest.fixture
def account(cell: Cell) -> Account:
    return cell.add_account()
