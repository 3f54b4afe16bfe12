"""Six cells at once, as the demonstration runs them: mail goes round, and what one cell holds no other has."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live import Live

CELLS = 6


@pytest.fixture(scope="module")
def six() -> Iterator[Live]:
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:
        installation = Live(Path(directory) / "i", tenants=CELLS)
        try:
            yield installation
        finally:
            installation.stop()


def test_mail_goes_round_six_cells_by_real_smtp(six: Live) -> None:
    people = [six.mailbox(tenant) for tenant in six.tenants]
    for sender, receiver in zip(people, people[1:] + people[:1], strict=True):
        with six.submission(sender) as client:
            client.sendmail(sender.address, [receiver.address], f"Subject: from {sender.tenant}\r\n\r\nround\r\n")
    for sender, receiver in zip(people, people[1:] + people[:1], strict=True):
        six.wait_subject(receiver, f"from {sender.tenant}")
    assert [len(six.subjects(person)) for person in people] == [1] * CELLS
    assert six.command("fsck", "--all").returncode == 0


def test_no_two_cells_share_a_process_or_a_user_id(six: Live) -> None:
    rows = [row for row in six.processes() if row["pid"]]
    assert {row["tenant"] for row in rows} == set(six.tenants)
    assert len({row["pid"] for row in rows}) == len(rows)
    uids = [(row["tenant"], row["uid"]) for row in rows if row["compartment"] in {"store", "keyring", "mx"}]
    if uids[0][1] >= 65_536:  # as root; an ordinary user has one user id, which `status` shows as missing
        assert len({uid for _, uid in uids}) == len(uids)


def test_a_password_of_one_cell_opens_no_other(six: Live) -> None:
    person = six.mailbox("t0")
    with six.imap(person, ""):
        pass
    for tenant in six.tenants[1:]:
        stranger = type(person)(tenant, person.address, person.password)
        with pytest.raises(Exception, match="AUTHENTICATIONFAILED"), six.imap(stranger, ""):
            pass
