"""`contain` against a running cell: previewed, held at each guard, lifted; the other tenant notices nothing."""

import hashlib
import threading
import time
from pathlib import Path

import pytest
from tests.cli.conftest import Live

from bulkhead.cli.accidents import AccidentRule, judge, read_rules
from bulkhead.cli.account_ids import read_accounts, set_of
from bulkhead.cli.contain_commands import SURFACES
from bulkhead.cli.containments import CONTAINMENTS
from bulkhead.config import load_installation
from bulkhead.demo.endpoints import endpoints_of, trust
from bulkhead.errors import ConfigError

PASSWORD = "correct horse battery"


def test_every_surface_of_the_command_has_its_row_in_the_table_and_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs/containment.md").read_text(encoding="utf-8")
    assert tuple(CONTAINMENTS) == SURFACES
    for row in CONTAINMENTS.values():
        guards = ", ".join(f"`{guard}`" for guard in row.guards)
        assert f"| `{row.name}` | {row.effect} | {row.alive} | {guards} |" in page


def test_a_file_of_ids_is_the_sorted_set_of_them(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_text("02" * 16 + "\n" + "01" * 16 + "\n" + "02" * 16 + "\n")
    assert read_accounts(path) == bytes([1] * 16 + [2] * 16) == set_of([bytes([2] * 16), bytes([1] * 16)])
    for bad in ("", "02" * 15, "zz", "person\n"):
        path.write_text(bad)
        with pytest.raises(ConfigError):
            read_accounts(path)


def test_a_stop_is_held_against_users_and_hours(tmp_path: Path) -> None:
    rules = (AccidentRule("r", 100, 2.0, "verify"), AccidentRule("s", 1, 1.0, "verify", ("outbound",)))
    assert [one.reached for one in judge(rules, "imap", 99, 9.0)] == [False]
    assert [one.reached for one in judge(rules, "imap", 100, 1.9)] == [False]
    assert [one.reached for one in judge(rules, "outbound", 100, 2.0)] == [True, True]
    (one,) = judge(rules, "imap", 100, None)
    assert one.reached is None and one.after_hours == 2.0
    assert read_rules(tmp_path)[0].users == 30_000
    (tmp_path / "accidents.toml").write_text('[[rule]]\nregime = "x"\nusers = 7\nhours = 1\nverify = "y"\n')
    assert [rule.users for rule in read_rules(tmp_path)] == [7]
    (tmp_path / "accidents.toml").write_text('[[rule]]\nregime = "x"\n')
    with pytest.raises(ConfigError):
        read_rules(tmp_path)


def test_what_a_rule_stopped_is_confirmed_and_lifted_by_its_digest(live: Live) -> None:
    digest = hashlib.sha256(b"a subject of this test").hexdigest()
    assert live("contain", "stnet", "rule-sender").status == 2
    assert live("contain", "stnet", "rule-sender", "--set", "00").status == 2
    assert live("contain", "stnet", "rule-sender", "--set", digest, "--json").json["effects"][0]["done"]
    (row,) = [one for one in live("containment", "stnet", "--json").json["stopped"] if one["set"] == digest]
    assert (row["compartment"], row["surface"], row["until"]) == ("queue", "rule-sender", 0)
    (found,) = [
        one for one in live("doctor", "--json").json["findings"] if (one["tenant"], one["matter"]) == ("stnet", "rules")
    ]
    assert found["state"] == "warning" and "by queue" in found["text"]
    assert live("contain", "stnet", "rule-sender", "--set", digest, "--lift").status == 0
    assert all(one["set"] != digest for one in live("containment", "stnet", "--json").json["stopped"])


def test_a_stop_of_everybody_is_listed_beside_those_of_surfaces(live: Live) -> None:
    def listed() -> set[str]:
        rows = live("containment", "stnet", "--json").json["stopped"]
        return {row["compartment"] for row in rows if row["surface"] == "stop --outbound"}

    assert listed() == set()
    try:
        assert live("stop", "stnet", "--outbound").status == 0
        assert listed() == {"queue", "keyring"}
        assert "stop --outbound" in live("containment", "stnet").out
    finally:
        assert live("stop", "stnet", "--outbound", "--lift").status == 0
    assert listed() == set()


def access_pids(live: Live) -> set[int]:
    rows = live("status", "--json").json["processes"]
    return {row["pid"] for row in rows if (row["tenant"], row["compartment"]) == ("stnet", "access") and row["pid"]}


def test_an_evicted_compartment_is_other_processes_afterwards(live: Live) -> None:
    def pids() -> set[int]:
        rows = live("status", "--json").json["processes"]
        return {row["pid"] for row in rows if (row["tenant"], row["compartment"]) == ("stnet", "mx") and row["pid"]}

    before = pids()
    assert live("evict", "stnet", "mx").status == 0 and before
    deadline = time.monotonic() + 60
    while not (after := pids()) or after & before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert live("evict", "stnet", "nobody").status == 2


def test_a_set_is_kept_out_by_one_surface_while_others_and_the_other_tenant_go_on(live: Live, tmp_path: Path) -> None:
    import imaplib
    import poplib
    import smtplib

    ends, tls = endpoints_of(load_installation(live.directory)), trust(live.directory)
    for tenant, name in (("stnet", "kept"), ("stnet", "free"), ("kddi", "reader")):
        assert live.add(f"{name}@{tenant}.example", PASSWORD, tenant).status == 0
    account = live("account", "show", "stnet", "kept@stnet.example", "--json").json["account"]
    path = tmp_path / "ids"
    path.write_text(account + "\n")

    def imap(tenant: str, name: str) -> imaplib.IMAP4_SSL:
        client = imaplib.IMAP4_SSL(ends[tenant].address, ends[tenant].imaps, ssl_context=tls, timeout=30)
        client.login(f"{name}@{tenant}.example", PASSWORD)
        client.select("INBOX")
        return client

    def pop(name: str) -> bool:
        client = poplib.POP3_SSL(ends["stnet"].address, ends["stnet"].pop3s, context=tls, timeout=30)
        try:
            client.user(f"{name}@stnet.example")
            client.pass_(PASSWORD)
        except poplib.error_proto:
            return False
        finally:
            client.close()
        return True

    over, rounds, errors = threading.Event(), [0], list[Exception]()

    def go_on() -> None:
        while not over.wait(0.1):
            try:
                with smtplib.SMTP(ends["kddi"].address, ends["kddi"].mx, "client.example", timeout=30) as client:
                    client.sendmail("a@elsewhere.example", ["reader@kddi.example"], "Subject: on\r\n\r\ntext\r\n")
                reading = imap("kddi", "reader")
                assert reading.uid("SEARCH", "ALL")[1][0]
                reading.logout()
                rounds[0] += 1
            except Exception as error:
                errors.append(error)

    other = threading.Thread(target=go_on)
    other.start()
    try:
        preview = live("contain", "stnet", "imap", "--accounts", str(path), "--preview", "--for", "3", "--json").json
        assert preview["accounts"] == 1 and not preview["effects"] and preview["accidents"][0]["reached"] is False
        session = imap("stnet", "kept")
        done = live("contain", "stnet", "imap", "--accounts", str(path), "--reason", "test", "--json").json
        assert done["sessions"] >= 1 and all(effect["done"] for effect in done["effects"])
        assert done["set"] == hashlib.sha256(read_accounts(path)).hexdigest()
        with pytest.raises((imaplib.IMAP4.abort, imaplib.IMAP4.error, OSError)):
            for _ in range(3):
                session.noop()
        with pytest.raises(imaplib.IMAP4.error):
            imap("stnet", "kept")
        assert pop("kept")
        imap("stnet", "free").logout()
        stopped = live("containment", "stnet", "--json").json["stopped"]
        assert {row["compartment"] for row in stopped if row["set"] == done["set"]} == {"auth", "keyring"}
        assert live("contain", "stnet", "imap", "--accounts", str(path), "--lift").status == 0
        imap("stnet", "kept").logout()

        assert live("contain", "stnet", "freeze", "--accounts", str(path)).status == 0
        mail = ends["stnet"]
        with smtplib.SMTP(mail.address, mail.mx, "client.example", timeout=30) as client:
            with pytest.raises((smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)) as caught:
                client.sendmail("a@elsewhere.example", ["kept@stnet.example"], "Subject: x\r\n\r\ntext\r\n")
            refused = caught.value
            code = refused.smtp_code if isinstance(refused, smtplib.SMTPDataError) else 0
            if isinstance(refused, smtplib.SMTPRecipientsRefused):
                code = next(iter(refused.recipients.values()))[0]
            assert 400 <= code < 500
        frozen = imap("stnet", "kept")
        assert frozen.create("new")[0] == "NO" and frozen.uid("SEARCH", "ALL")[0] == "OK"
        frozen.logout()
        assert live("contain", "stnet", "freeze", "--accounts", str(path), "--lift").status == 0
        thawed = imap("stnet", "kept")
        assert thawed.create("new")[0] == "OK"
        thawed.logout()

        session, before = imap("stnet", "kept"), access_pids(live)
        evict = ("evict", "stnet", "access", "--accounts", str(path))
        preview = live(*evict, "--preview", "--json").json
        assert (preview["accounts"], preview["sessions"], preview["processes"], preview["ended"]) == (1, 1, 1, 0)
        session.noop()
        assert live(*evict, "--json").json["ended"] == 1 and live("evict", "stnet", "mx", "--preview").status == 2
        with pytest.raises((imaplib.IMAP4.abort, imaplib.IMAP4.error, OSError)):
            for _ in range(3):
                session.noop()
        assert live("evict", "stnet", "mx", "--accounts", str(path)).status == 2
        deadline = time.monotonic() + 60
        while len(before - access_pids(live)) != 1 or len(access_pids(live)) < len(before):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        imap("stnet", "kept").logout()

        words = ("contain", "stnet", "reset-passwords", "--accounts", str(path))
        preview = live(*words, "--preview", "--json").json
        assert preview["accounts"] == 1 and preview["accidents"] and not preview["effects"]
        session = imap("stnet", "kept")
        assert live(*words, "--json").json["sessions"] >= 1
        with pytest.raises((imaplib.IMAP4.abort, imaplib.IMAP4.error, OSError)):
            for _ in range(3):
                session.noop()
        assert not pop("kept")
        imap("stnet", "free").logout()
        assert live(*words, "--lift").status == 0 and pop("kept")
    finally:
        over.set()
        other.join()
    assert not errors and rounds[0]
