"""Access records of a running cell, by command; the forms of collectors; a transfer over TLS to a real receiver."""

import asyncio
import contextlib
import imaplib
import json
import smtplib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.conftest import Live

from bulkhead.boundary.messages.accesses import ACTS_ALL, AccessPage, Cursor
from bulkhead.cli import audit_send
from bulkhead.cli.audit import Window, pages, parse_source, parse_time
from bulkhead.cli.audit_formats import FORMATS, Entry, to_cef, to_syslog
from bulkhead.cli.audit_send import frame
from bulkhead.config import load_installation
from bulkhead.demo.endpoints import endpoints_of
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.identifiers import AccountId
from bulkhead.records.access import Access, Act, Outcome, actor_octets, source_octets

pytestmark = pytest.mark.timeout(120)
PASSWORD = "correct horse battery"
WHO = "audit-a@kddi.example"
ENTRY = Entry(
    "kddi", "auth", Access(1_800_000_000_123, Act.LOGIN, Outcome.REFUSED, 3, 1, AccountId(b"a" * 16),
                           source_octets("192.0.2.7")), "a@kddi.example",
)  # fmt: skip


def _log_in(live: Live, password: str, who: str = WHO) -> None:
    endpoint, context = endpoints_of(load_installation(live.directory))["kddi"], ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with imaplib.IMAP4_SSL(endpoint.address, endpoint.imaps, ssl_context=context, timeout=20) as client:
        client.login(who, password)


def _records(live: Live, *words: str) -> list[dict[str, object]]:
    ran = live("audit", "list", "kddi", "--format", "json", *words)
    assert ran.status == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


@pytest.fixture(scope="module")
def seen(live: Live) -> Live:
    """One account with a right login, a wrong one, and a message."""
    assert live.add(WHO).status == 0
    _log_in(live, PASSWORD)
    with pytest.raises(imaplib.IMAP4.error):
        _log_in(live, "not the password")
    endpoint = endpoints_of(load_installation(live.directory))["kddi"]
    with smtplib.SMTP(endpoint.address, endpoint.mx, timeout=20) as client:
        client.sendmail("x@far.example", [WHO], b"Subject: s\r\n\r\nbody\r\n")
    return live


def test_rows_stand_below_the_head_of_their_table_and_name_the_protocol(seen: Live) -> None:
    head, *rows = seen("audit", "list", "kddi", "--act", "login", "--account", WHO).out.splitlines()
    assert rows
    for row in rows:
        assert row.index(" auth ") + 1 == head.index("COMPARTMENT")
        assert row[head.index("WHAT") :].startswith("imap")
    assert "nothing" in seen("audit", "list", "kddi", "--act", "queued", "--account", WHO).out


def test_who_logged_in_from_where_and_what_came_is_told_by_each_holder(seen: Live) -> None:
    rows = _records(seen, "--account", WHO)
    logins = [(row["outcome"], row["gate"], row["source"]) for row in rows if row["act"] == "login"]
    source = logins[0][2]
    assert logins == [("done", "access", source), ("refused", "access", source)] and str(source).startswith("127.")
    begun, delivered = ([row for row in rows if row["act"] == act] for act in ("session_begun", "delivered"))
    assert [row["compartment"] for row in begun] == ["keyring"] and [row["gate"] for row in delivered] == ["mx"]
    assert len({row["account"] for row in rows}) == 1 and not any(row["address"] for row in rows)
    account = str(rows[0]["account"])
    assert _records(seen, "--account", account, "--act", "login", "--compartment", "auth") == [
        row for row in rows if row["act"] == "login"
    ]
    assert len(_records(seen, "--account", WHO, "--source", f"{source}/24", "--act", "login")) == 2
    assert _records(seen, "--account", WHO, "--source", "192.0.2.0/24", "--act", "login") == []
    assert _records(seen, "--account", WHO, "--until", "1m", "--since", "2m", "--compartment", "auth") == []
    named = _records(seen, "--account", WHO, "--addresses", "--act", "login")
    assert [row["address"] for row in named] == [WHO, WHO]


def test_a_window_is_counted_by_act_and_accounts(seen: Live) -> None:
    counts = seen("audit", "count", "kddi", "--account", WHO, "--json").json
    by_name = {one["compartment"]: one for one in counts["compartments"]}
    logins = {(row["outcome"], row["records"]) for row in by_name["auth"]["acts"] if row["act"] == "login"}
    assert logins == {("done", 1), ("refused", 1)}
    assert by_name["auth"]["accounts"] == 1 and all(one["damaged"] == 0 for one in counts["compartments"])


def test_what_the_command_line_did_to_an_account_is_told_by_who_and_what(seen: Live) -> None:
    rows = _records(seen, "--account", WHO, "--officer", "cli", "--limit", "0")
    done = {(row["compartment"], row["action"]) for row in rows}
    assert done >= {
        ("directory", "AddAccount"), ("keyring", "CreateMailboxKeys"), ("store", "OpenAccount"),
        ("auth", "SetPassword"),
    }  # fmt: skip
    assert {(row["act"], row["officer"], row["gate"], row["source"]) for row in rows} == {("staff", "cli", "cli", "")}
    assert seen("audit", "list", "kddi", "--officer", "cli", "--source", "192.0.2.0/24").status == 2
    assert not _records(seen, "--account", WHO, "--officer", "nobody")


def test_an_act_of_staff_names_officer_and_action_in_every_form() -> None:
    access = Access(
        1_800_000_000_123, Act.STAFF, Outcome.REFUSED, 5, 14, AccountId(b"a" * 16), actor_octets("kddi", "ada")
    )
    entry = Entry("kddi", "directory", access, "a@kddi.example", "ada")
    assert (entry.action, entry.source, len(entry.actor)) == ("ShowAccount", "", 28)
    for name, form in FORMATS.items():
        line = form(entry)
        assert "ShowAccount" in line and entry.actor in line and "ada" in line, name
    ocsf, ecs = json.loads(FORMATS["ocsf"](entry)), json.loads(FORMATS["ecs"](entry))
    assert (ocsf["class_uid"], ocsf["actor"]["user"]["name"], ocsf["status_id"]) == (6003, "ada", 2)
    assert (ecs["user"]["name"], ecs["user"]["target"]["email"]) == ("ada", "a@kddi.example")


def test_what_is_no_time_no_network_and_no_account_is_refused_with_words(live: Live) -> None:
    for words in (
        ("--since", "yesterday"), ("--since", "now", "--until", "1h"), ("--source", "192.0.2.0/25"),
        ("--source", "no"), ("--limit", "-1"),
    ):  # fmt: skip
        assert live("audit", "list", "kddi", *words).status == 2, words
    assert live("audit", "list", "kddi", "--account", "nobody-here@kddi.example").status == 4


def _certificate(folder: Path, name: str) -> Path:
    """Key and self-signed certificate for a name, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    path = folder / f"{name}.pem"
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, *form) + certificate.public_bytes(pem))
    return path


class _Collector:
    """Takes one connection, and keeps what comes."""

    def __init__(self, pem: Path) -> None:
        self.got = bytearray()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.to = f"localhost:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        plain, _ = self._server.accept()
        with contextlib.suppress(OSError), self._context.wrap_socket(plain, server_side=True) as connection:
            while part := connection.recv(65536):
                self.got += part

    def end(self) -> bytes:
        """What came."""
        self._thread.join(20)
        self._server.close()
        return bytes(self.got)


def _frames(octets: bytes) -> list[str]:
    found = []
    while octets:
        length, _, rest = octets.partition(b" ")
        found.append(rest[: int(length)].decode())
        octets = rest[int(length) :]
    return found


def test_records_reach_the_right_collector_once_and_no_other(
    seen: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_send, "BEHIND_MS", 0)
    other = "audit-b@kddi.example"
    assert seen.add(other).status == 0
    _log_in(seen, PASSWORD, other)
    pem, state = _certificate(tmp_path, "localhost"), str(tmp_path / "state")
    impostor = _Collector(_certificate(tmp_path, "elsewhere.example"))
    to = ("--ca", str(pem), "--state", state)
    assert seen("audit", "send", "kddi", "--to", impostor.to, *to).status != 0
    assert impostor.end() == b"" and not (tmp_path / "state").exists()
    first = _Collector(pem)
    assert seen("audit", "send", "kddi", "--to", first.to, *to).status == 0
    sent = _frames(first.end())
    account = str(_records(seen, "--account", other)[0]["account"])
    assert len([line for line in sent if account in line and " login " in line]) == 1
    with pytest.raises(imaplib.IMAP4.error):
        _log_in(seen, "not the password", other)
    second = _Collector(pem)
    assert seen("audit", "send", "kddi", "--to", second.to, *to).status == 0
    again = [line for line in _frames(second.end()) if account in line and " login " in line]
    assert len(again) == 1 and "login refused" in again[0]
    (tmp_path / "state").write_text('{"tenant": "kddi", "sent_until": 4000000000000}')
    set_back = seen("audit", "send", "kddi", "--to", second.to, *to)
    assert set_back.status == 2 and "the clock was set back" in set_back.err
    (tmp_path / "state").write_text("{}")
    assert seen("audit", "send", "kddi", "--to", second.to, *to).status == 2


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_each_form_says_who_where_and_how_it_ended(name: str) -> None:
    line = FORMATS[name](ENTRY)
    assert "\n" not in line and "192.0.2.7" in line and "refused" in line and "acc_" in line
    if name in {"json", "ocsf", "ecs"}:
        json.loads(line)


def test_syslog_is_rfc_5424_with_its_priority_time_and_structured_data() -> None:
    line = to_syslog(ENTRY)
    assert line.startswith('<85>1 2027-01-15T08:00:00.123Z kddi auth - login [bulkhead@32473 outcome="refused" ')
    assert line.endswith("] login refused")


@given(st.text(max_size=80))
def test_no_address_breaks_out_of_its_field(text: str) -> None:
    entry = Entry("kddi", "auth", ENTRY.access, text)
    for name, form in FORMATS.items():
        line = form(entry)
        assert "\n" not in line or name in {"json", "ocsf", "ecs"}
        if name in {"json", "ocsf", "ecs"}:
            json.loads(line)
    data = to_syslog(entry).partition("[")[2]
    bare = data.replace("\\\\", "").replace('\\"', "").replace("\\]", "")
    assert bare.count("]") == 1 and bare.count('"') % 2 == 0
    assert all("=" not in part.replace("\\=", "") or part.partition("=")[0] for part in to_cef(entry).split(" "))


def test_a_frame_counts_octets_and_not_characters() -> None:
    assert frame("é") == b"2 \xc3\xa9"


def test_times_and_networks_are_read() -> None:
    assert parse_time("2h", 10_000_000) == 2_800_000 and parse_time("now", 5) == 5
    assert parse_time("2026-11-22T09:00Z", 0) == parse_time("2026-11-22T09:00", 0) == 1_795_338_000_000
    assert parse_source("192.0.2.0/24") == source_octets("192.0.2.0")[:15] and len(parse_source("2001:db8::/32")) == 4
    with pytest.raises(ConfigError):
        parse_source("2001:db8::/33")


class _Liar:
    """A compartment that says that there is more, and never goes on."""

    async def ask(self, *_: object) -> AccessPage:
        return AccessPage(b"", Cursor(1, 2, 3), True, 0)


def test_a_compartment_that_leads_in_a_circle_is_named_and_not_followed() -> None:
    async def follow() -> int:
        window = Window(0, 1, b"", b"", ACTS_ALL, 0, ("auth",))
        return len([page async for page in pages(_Liar(), "auth", window, 0)])  # type: ignore[arg-type]  # what of it is asked

    with pytest.raises(IntegrityError, match="auth leads in a circle"):
        asyncio.run(follow())
