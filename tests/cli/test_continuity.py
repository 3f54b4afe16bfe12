"""A cell serves with empty mailboxes, and its old mail follows: each message once, whatever is killed meanwhile."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.cli.test_backup import Site
from tests.cli.test_restore_mailbox import seen

from bulkhead.cli.restore_commands import RESTORE_COMMANDS
from bulkhead.supervisor.layout import Layout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("c"))
    yield site
    site.live.running.stop()


def words_of(site: Site) -> list[str]:
    return ["restore-follow", "t0", "--from", str(site.to), *site.keys]


def lose(site: Site) -> str:
    site.back_up()
    return str(site.lose_cell())


def validity(site: Site) -> int:
    with site.live.imap(site.anna, "") as client:
        return int(client.status("INBOX", "(UIDVALIDITY)")[1][0].split()[-1].rstrip(b")"))


def test_a_cell_serves_with_its_folders_at_once_and_its_mail_follows(site: Site) -> None:
    live, anna = site.live, site.anna
    with live.imap(anna) as client:
        client.create("Plans")
        client.append("Plans", "\\Flagged $mine", '"01-Feb-2026 10:00:00 +0000"', b"Subject: plan\r\n\r\nplan\r\n")
        before = {folder: seen(client, folder) for folder in ("INBOX", "Plans")}
    site.back_up()
    with live.imap(anna) as client:
        client.append("INBOX", None, None, b"Subject: in the second backup\r\n\r\nsecond\r\n")
        before["INBOX"] = seen(client, "INBOX")
    was, log = validity(site), lose(site)
    report = json.loads(site.restore("--ledger", log, "--continuity", "--json").stdout)
    assert (report["continuity"], report["messages"]) == (True, 0)
    site.start()
    with live.imap(anna) as client:
        assert seen(client, "INBOX") == seen(client, "Plans") == {}
        client.append("INBOX", None, None, b"Subject: meanwhile\r\n\r\nnew\r\n")
        (new,) = seen(client, "INBOX")
    assert validity(site) > was
    kept = live.json("backup", "prune", "t0", "--keep-days", "1", "--from", str(site.to))
    assert kept["tenants"][0]["removed"] == []

    with live.imap(anna) as client:
        done = json.loads(live.command(*words_of(site), "--json").stdout)
        exists = 0
        for _ in range(50):
            exists = int(client.response("EXISTS")[1][-1] or exists)  # of what is there since it was last asked
            if exists == 1 + len(before["INBOX"]):
                break
            time.sleep(0.1)
            client.noop()
        assert exists == 1 + len(before["INBOX"])
    (command,) = [command for command in RESTORE_COMMANDS if command.name == "restore-follow"]
    assert set(done) - {"schema"} == set(command.json_keys)
    assert done["restored"] == done["messages"] == 10
    with live.imap(anna) as client:
        inbox = seen(client, "INBOX")
        inbox.pop(new)
        assert {"INBOX": inbox, "Plans": seen(client, "Plans")} == before
    assert live.json("fsck", "t0", "--deep")["sound"]
    again = live.command(*words_of(site), check=False)
    assert b"no mail is to follow" in again.stderr
    with live.imap(anna) as client:
        client.append("INBOX", None, None, b"Subject: after all\r\n\r\nafter\r\n")
    live.json("backup", "run", "t0", "--to", str(site.to))
    assert live.json("backup", "verify", "t0", "--from", str(site.to))["sound"]


def test_what_is_deleted_while_the_rest_follows_stays_deleted_and_a_cancelled_account_gets_nothing(site: Site) -> None:
    live, anna = site.live, site.anna
    for number in range(3):
        with live.imap(site.ben) as client:
            client.append("INBOX", None, None, f"Subject: ben {number}\r\n\r\nben\r\n".encode())
    with live.imap(anna) as client:
        before = len(seen(client, "INBOX"))
        client.create("Doomed")
        client.append("Doomed", None, None, b"Subject: doomed\r\n\r\ndoomed\r\n")
    log = lose(site)
    site.restore("--ledger", log, "--continuity")
    site.start()
    live.command("account", "cancel", "t0", site.ben.address)
    with live.imap(anna) as client:
        client.delete("Doomed")
    done = json.loads(live.command(*words_of(site), "--json").stdout)
    assert done["gone"] == 3
    with live.imap(anna) as client:
        assert len(seen(client, "INBOX")) == before
        assert len(seen(client, "Doomed")) == 1  # a folder that mail of the backup lies in is made again
        client.delete("Doomed")
    assert live.json("fsck", "t0", "--deep")["sound"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_anywhere_the_mail_follows_once(site: Site) -> None:
    live, anna = site.live, site.anna
    draw = random.Random(7)
    for _ in range(3):
        with live.imap(anna) as client:
            for number in range(120):
                client.append("INBOX", None, None, f"Subject: {number}\r\n\r\n{draw.random()}\r\n".encode())
        site.back_up()
    with live.imap(anna) as client:
        before = Counter(seen(client, "INBOX").keys())
    log = lose(site)
    site.restore("--ledger", log, "--continuity")
    site.start()
    command = [sys.executable, "-m", "bulkhead.cli.main", *words_of(site), "-C", str(live.directory)]
    store = live.pid("t0", "store")
    os.kill(store, signal.SIGSTOP)  # so that it cannot have come to an end before it is killed
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None and b"is being opened" in process.stderr.readline()
        time.sleep(draw.uniform(0.2, 0.7))
    finally:
        process.kill()
        os.kill(store, signal.SIGCONT)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    for attempt in range(40):
        store = live.pid("t0", "store")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.2, 0.7) + attempt * 0.05)
        if process.poll() is None and attempt % 2:
            os.kill(store, signal.SIGKILL)
            time.sleep(draw.uniform(0.0, 0.2))
        if process.poll() is None:
            process.kill()
        process.wait()
        if not Layout(live.directory, "t0").following.exists():  # type: ignore[arg-type]
            break
    with live.imap(anna) as client:
        client.select("INBOX")
        assert Counter(seen(client, "INBOX").keys()) == before
        _, (count,) = client.select("INBOX")
    assert int(count) == sum(before.values())
    assert live.json("fsck", "t0", "--deep")["sound"]
