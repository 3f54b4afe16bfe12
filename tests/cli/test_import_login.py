"""From another server's file to a login over IMAP, through every process that takes part."""

import imaplib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live import Live, Mailbox
from tests.records.legacy_vectors import VECTORS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def live() -> Iterator[Live]:
    with tempfile.TemporaryDirectory(prefix="bulkhead-import-") as directory:
        live = Live(Path(directory) / "i", 1, {"auth.failure_seconds": 0.7})
        try:
            yield live
        finally:
            live.running.stop()


def schemes(live: Live) -> set[str]:
    (tenant,) = live.json("credentials", "audit")["tenants"]
    return {row["scheme"] for row in tenant["report"]["counts"] if row["compartment"] == "auth"}


def test_every_published_digest_logs_in_over_imap_and_is_replaced(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "passwd"
    file.write_text("".join(f"u{n}@t0.example:{text}::::::\n" for n, (_, text, _) in enumerate(VECTORS)))
    live.command("account", "import", "t0", str(file))
    assert sum("(" in scheme.partition(")")[2] for scheme in schemes(live)) > 8
    for n, (_, _, password) in enumerate(VECTORS):
        address = f"u{n}@t0.example"
        with pytest.raises(imaplib.IMAP4.error), live.imap(Mailbox("t0", address, "not the password")):
            pass
        if password.isascii():  # imaplib sends no other
            for _ in range(2):
                with live.imap(Mailbox("t0", address, password.decode())):
                    pass
    for _ in range(300):
        if sum("(" in scheme.partition(")")[2] for scheme in schemes(live)) <= 1:
            break
        time.sleep(0.2)
    left = {scheme.partition(")")[2] for scheme in schemes(live)}
    assert left == {"", "(pbkdf2-sha256)"}  # of the one whose password imaplib cannot send
