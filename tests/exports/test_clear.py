"""An export of form 1, made by an older build: tests/vectors/exports/README.md."""

import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors.archive import extract

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.exports import clear
from bulkhead.exports.sealed import Manifest, read_export
from bulkhead.exports.sealing import RecoveryKeys
from bulkhead.identifiers import TenantId

VECTORS = Path(__file__).parents[1] / "vectors" / "exports"
KNOWN = json.loads((VECTORS / "form-1.json").read_text())
NO_KEYS: RecoveryKeys = None  # type: ignore[assignment]  # the form needs none


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `export` and both keys."""
    base = tmp_path_factory.mktemp("export")
    with tarfile.open(VECTORS / "form-1.tar.gz") as tar:
        extract(tar, base)
    return base / "form-1"


def _open(frozen: Path, out: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    keys = [f"--{party}-key={frozen}/{party}.key" for party in ("partner", "operator")]
    command = [sys.executable, "-m", "bulkhead.cli.main", "export", "open", f"{frozen}/export", "--to", str(out)]
    return subprocess.run([*command, *keys, *words], capture_output=True, text=True, check=False, timeout=60)


def test_every_message_of_an_export_of_form_1_opens(frozen: Path, tmp_path: Path) -> None:
    done = _open(frozen, tmp_path, "--manifest", KNOWN["manifest"])
    assert done.returncode == ExitCode.OK, done.stderr
    found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.glob("*/Maildir/**/cur/*")]
    assert sorted(found) == KNOWN["messages"]


def test_an_export_of_form_1_is_opened_only_by_the_manifest_that_the_ledger_noted(frozen: Path, tmp_path: Path) -> None:
    assert "Give --manifest" in _open(frozen, tmp_path).stderr
    assert _open(frozen, tmp_path, "--manifest", "0" * 64).returncode == ExitCode.USAGE
    assert not any(tmp_path.iterdir())


def test_nothing_else_takes_form_1(frozen: Path) -> None:
    assert clear.is_clear(frozen / "export")
    with pytest.raises(ConfigError, match="no form"):
        read_export(frozen / "export")
    with pytest.raises(ConfigError, match="no form"):
        Manifest(frozen / "export", "t0", 1)


@given(st.binary(max_size=200))
def test_rows_and_head_of_any_octets_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "clear"
    folder.mkdir(exist_ok=True)
    for name in ("rows", "head"):
        (folder / name).write_bytes(data)
    try:
        list(clear.read_rows(folder, TenantId("t0"), NO_KEYS))
    except IntegrityError:
        pass
    with pytest.raises(IntegrityError):
        clear.read_head(folder, TenantId("t0"), NO_KEYS)
