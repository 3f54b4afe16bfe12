"""Officers from the command line: keys, rosters and orders on one's own machine, and carried to a running cell."""

import json
import ssl
from pathlib import Path

import pytest
from tests.cli.conftest import Live

from bulkhead.cli.api_client import ApiClient
from bulkhead.cli.certificates import CA_CERTIFICATE, FOLDER
from bulkhead.cli.main import main
from bulkhead.config import load_installation
from bulkhead.drill.officers import People
from bulkhead.holder.orders import approvals_of
from bulkhead.records.officer_file import OfficerPrivateKey, seal_officer_key
from bulkhead.records.order import Order
from bulkhead.records.roster import Policy, Roster
from bulkhead.records.signed_file import OrderFile, RosterFile, read_order_file, read_roster_file

PASSPHRASE = "six words and not only one"


def write_roster(people: People, roster: Roster, path: Path) -> Path:
    data = people.use(roster)
    file = RosterFile(data)
    for one in people.sign(data):
        file = file.with_signature((one.root, one.signature))
    path.write_text(file.render())
    return path


def write_order(people: People, order: Order, path: Path, *by: str) -> Path:
    data = order.encode()
    file = OrderFile(data)
    for approval in approvals_of(people.by(data, *by)):
        file = file.with_approval(approval)
    path.write_text(file.render())
    return path


class Desk:
    """One officer's machine: no installation."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        (folder / "pass").write_text(PASSPHRASE + "\n")

    def __call__(self, *words: str) -> tuple[int, str]:
        status = main(["officer", *words])
        captured = self._capsys.readouterr()
        return status, captured.out + captured.err

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def enrol(self, name: str, role: str) -> str:
        status, out = self(
            "enrol", name, "--role", role, "--key", self.path(name), "--passphrase-file", self.path("pass")
        )
        assert status == 0
        return next(
            line for line in out.splitlines() if "ed25519" in line or line.startswith(("partner:", "operator:"))
        )

    def sign(self, what: str, file: str, key: str) -> int:
        words = (what, "sign", self.path(file), "--key", self.path(key), "--passphrase-file", self.path("pass"))
        return self(*words)[0]


def test_keys_roster_and_order_are_made_and_signed_without_an_installation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(tmp_path, capsys)
    roots = [desk.enrol("proot", "partner-root"), desk.enrol("oroot", "operator-root")]
    lines = [desk.enrol("ada", "partner-admin"), desk.enrol("sec", "partner-security")]
    assert (tmp_path / "ada").stat().st_mode & 0o777 == 0o400
    assert desk(
        "enrol", "ada", "--role", "automatic", "--key", desk.path("ada"), "--passphrase-file", desk.path("pass")
    )[0]
    (tmp_path / "lines").write_text("# who\n" + "\n".join(lines) + "\n")
    made = desk(
        "roster", "make", "kddi", desk.path("lines"), "--out", desk.path("1"), "--refuse-local",
        "--quorum", "stop-logins:partner=2", "--daily", "cancel-account=3",
    )  # fmt: skip
    assert made[0] == 0
    assert desk.sign("roster", "1", "ada") == 2  # no root
    assert desk("roster", "show", desk.path("1"), "--root", roots[0], "--root", roots[1])[0] == 4
    assert [desk.sign("roster", "1", key) for key in ("proot", "oroot")] == [0, 0]
    status, shown = desk("roster", "show", desk.path("1"), "--root", roots[0], "--root", roots[1])
    assert status == 0
    assert "partner-security" in shown
    again = desk("roster", "make", "kddi", desk.path("lines"), "--out", desk.path("2"), "--previous", desk.path("1"))
    assert again[0] == 0
    assert b'"version":2' in read_roster_file((tmp_path / "2").read_text()).statement

    order = ("order", "make", "kddi", "stop-logins", "--roster", desk.path("1"), "--out", desk.path("stop"))
    assert desk(*order)[0] == 2  # no reason
    assert desk(*order, "--reason", "case 7")[0] == 0
    assert desk.sign("order", "stop", "proot") == 2  # a root is no officer
    assert desk.sign("order", "stop", "ada") == 0
    status, shown = desk("order", "show", desk.path("stop"), "--roster", desk.path("1"))
    assert (status, "needs 2 of partner" in shown) == (4, True)
    assert desk.sign("order", "stop", "sec") == 0
    status, shown = desk("order", "show", desk.path("stop"), "--roster", desk.path("1"))
    assert status == 0
    assert "signed by ada, sec" in shown
    text = (tmp_path / "stop").read_text().replace("case 7", "case 8")
    (tmp_path / "stop").write_text(text)
    assert desk("order", "show", desk.path("stop"), "--roster", desk.path("1"))[0] == 4
    withdrawn = desk(
        "order", "withdraw", desk.path("stop"), "--roster", desk.path("1"), "--out", desk.path("no"),
        "--key", desk.path("sec"), "--passphrase-file", desk.path("pass"), "--reason", "wrong case",
    )  # fmt: skip
    assert withdrawn[0] == 0
    assert len(read_order_file((tmp_path / "no").read_text()).approvals) == 1


def test_orders_reach_the_compartments_of_a_running_cell_and_bind_its_command_line(live: Live, tmp_path: Path) -> None:
    people = live.people["kddi"]
    one = write_roster(people, people.roster(), tmp_path / "1")
    two = write_roster(people, people.roster(Policy(local_refused=True)), tmp_path / "2")
    ran = live("officer", "roster", "install", "kddi", str(one), str(two), "--json")
    assert ran.status == 0
    assert [row["version"] for row in ran.json["executors"]] == [2] * 5
    live.add("ordered@kddi.example")
    assert live("stop", "kddi", "--logins", "--reason", "mine").status == 4
    assert live("account", "suspend", "kddi", "ordered@kddi.example").status == 4
    stop = write_order(people, people.order("stop-logins"), tmp_path / "stop", "ada")
    ran = live("officer", "order", "submit", "kddi", str(stop), "--json")
    assert ran.status == 0
    assert [(row["compartment"], row["state"]) for row in ran.json["executors"]] == [
        ("keyring", "executed"),
        ("auth", "executed"),
    ]
    lift = write_order(people, people.order("lift-logins"), tmp_path / "lift", "ada")
    assert live("officer", "order", "submit", "kddi", str(lift)).status == 4
    write_order(people, people.order("lift-logins"), tmp_path / "lift", "ada", "sec")
    assert live("officer", "order", "submit", "kddi", str(lift)).status == 0
    three = write_roster(people, people.roster(), tmp_path / "3")
    assert live("officer", "roster", "install", "kddi", str(three)).status == 0
    assert live("stop", "kddi", "--outbound", "--reason", "mine").status == 0
    assert live("stop", "kddi", "--outbound", "--lift", "--reason", "mine").status == 0
    the_console_of_the_cell_answers_an_officer_and_nobody_else(live, people, tmp_path)
    listed = live("officer", "order", "list", "kddi", "--json").json["executors"]
    assert {row["roster"] for row in listed} == {3}
    assert not any(row["local_refused"] for row in listed)
    assert [o["action"] for o in next(r for r in listed if r["compartment"] == "auth")["orders"]] == [
        "lift-logins",
        "stop-logins",
    ]


def the_console_of_the_cell_answers_an_officer_and_nobody_else(live: Live, people: People, folder: Path) -> None:
    """The real thing behind its lock, over TLS: a call that reads, a change, one that is refused, a stranger's key."""
    (folder / "pass").write_text(PASSPHRASE + "\n")
    for name, officer in (("ada", people), ("stranger", People("kddi"))):
        key = OfficerPrivateKey("ada", "partner-admin", officer.keys["ada"])
        (folder / name).write_text(seal_officer_key(key, PASSPHRASE.encode()))
        (folder / name).chmod(0o600)
    with_key = ("--key", str(folder / "ada"), "--passphrase-file", str(folder / "pass"))
    ran = live("api", "kddi", "GET", "/v1/status", *with_key)
    assert ran.status == 0 and json.loads(ran.out)["tenant"] == "kddi", ran
    live.add("by-console@kddi.example")
    (folder / "body").write_text(json.dumps({"alias": "by-api@kddi.example"}))
    path = "/v1/accounts/by-console@kddi.example"
    assert live("api", "kddi", "POST", f"{path}/aliases", *with_key, "--data", str(folder / "body")).status == 0
    assert json.loads(live("api", "kddi", "GET", f"{path}/routes", *with_key).out)["aliases"] == ["by-api@kddi.example"]
    assert live("api", "kddi", "GET", "/v1/accounts/nobody@kddi.example", *with_key).status == 4
    assert json.loads(live("api", "kddi", "GET", "/v1/ledger/checkpoint", *with_key).out)["checkpoint"]
    assert json.loads(live("api", "kddi", "GET", "/v1/contract", *with_key).out)["adopted"] == 0
    log_key = live("ledger", "kddi", "key").out.strip()
    ran = live("api", "kddi", "GET", "/v1/ledger/entries?first=1&limit=3", *with_key, "--ledger-key", log_key)
    assert ran.status == 0 and json.loads(ran.out)["verified"]["entries"] == 3, ran
    page, offline = json.loads(ran.out)["answer"], ["ledger", "check", str(folder / "page.json"), "--key", log_key]
    for changed, status in (({}, 0), ({"first": 2}, 5)):
        (folder / "page.json").write_text(json.dumps({**page, **changed}))
        assert main([*offline, "--json"]) == status
    ran = live("api", "kddi", "GET", "/v1/canaries", *with_key, "--ledger-key", log_key)
    assert ran.status == 0 and json.loads(ran.out)["verified"]["differ"] == [], ran
    assert live("api", "kddi", "GET", "/v1/status", *with_key, "--ledger-key", log_key).status == 2
    assert len(json.loads(live("api", "kddi", "GET", "/v1/orders", *with_key).out)["rosters"]) == 5
    (folder / "body").write_text(json.dumps({"octets": 4096}))
    assert live("api", "kddi", "PUT", f"{path}/quota", *with_key, "--data", str(folder / "body")).status == 0
    assert json.loads(live("api", "kddi", "GET", f"{path}/quota", *with_key).out)["limit_bytes"] == 4096
    a_collector_reads_metrics(live, people, folder)
    stranger = ("--key", str(folder / "stranger"), "--passphrase-file", str(folder / "pass"))
    ran = live("api", "kddi", "GET", "/v1/status", *stranger)
    assert ran.status == 4 and "key" in ran.err
    _a_case_is_worked_by_the_console(live, people, folder)


def _a_case_is_worked_by_the_console(live: Live, people: People, folder: Path) -> None:
    """From a machine that has the officer's key alone: terms, signature, case, a look, its end."""
    sealed = seal_officer_key(OfficerPrivateKey("sup", "partner-support", people.keys["sup"]), PASSPHRASE.encode())
    (folder / "sup").write_text(sealed)
    (folder / "sup").chmod(0o600)
    address, data = "by-console@kddi.example", str(folder / "data")
    with_key = ("--key", str(folder / "sup"), "--passphrase-file", str(folder / "pass"))
    (folder / "data").write_text(live("api", "kddi", "GET", f"/v1/support/terms?address={address}", *with_key).out)
    signed = live("support", "case", "sign", data, address, "--reason", "ticket 1", *with_key)
    assert signed.status == 0, signed
    assert live("support", "case", "sign", str(folder / "sup"), address, "--reason", "x", *with_key).status == 2
    (folder / "data").write_text(signed.out)
    ran = live("api", "kddi", "POST", "/v1/support/cases", *with_key, "--data", data)
    assert ran.status == 0, ran
    case = f"/v1/support/cases/{json.loads(ran.out)['case']}"
    (folder / "data").write_text(json.dumps({"address": address}))
    ran = live("api", "kddi", "POST", f"{case}/looks", *with_key, "--data", data)
    card = json.loads(ran.out)
    assert (card["address"], card["quota_bytes"], card["aliases"]) == (address, 4096, 1)
    assert live("api", "kddi", "DELETE", case, *with_key).status == 0
    assert live("api", "kddi", "POST", f"{case}/looks", *with_key, "--data", data).status == 4
    actions = [json.loads(line)["action"] for line in live(
        "audit", "list", "kddi", "--officer", "sup", "--compartment", "directory", "--format", "json", "--limit", "0"
    ).out.splitlines()]  # fmt: skip
    assert {"ShowAccount", "OpenCase", "ShowCard", "CloseCase"} <= set(actions)


def a_collector_reads_metrics(live: Live, people: People, folder: Path) -> None:
    """As a partner's Prometheus does: by a token that was made without the installation, and lives for days."""
    key = OfficerPrivateKey("prom", "partner-collector", people.keys["prom"])
    (folder / "prom").write_text(seal_officer_key(key, PASSPHRASE.encode()))
    (folder / "prom").chmod(0o600)
    tenant = load_installation(live.directory).tenant("kddi")
    name = tenant.settings.text("names.console")
    words = ["officer", "scrape-token", "kddi", "--console", name, "--passphrase-file", str(folder / "pass")]
    assert main([*words, "--key", str(folder / "ada"), "--out", str(folder / "no")]) == 2  # no collector's key
    assert main([*words, "--key", str(folder / "prom"), "--out", str(folder / "no"), "--days", "91"]) == 2
    assert main([*words, "--key", str(folder / "prom"), "--out", str(folder / "token")]) == 0
    context = ssl.create_default_context(cafile=str(live.directory / FOLDER / CA_CERTIFICATE))
    address, port = tenant.settings.text("listen.address"), tenant.settings.integer("listen.console")
    client = ApiClient(address, port, name, context)
    bears = {"Authorization": f"Bearer {(folder / 'token').read_text().strip()}"}
    answer = client.send("GET", "/v1/metrics", None, bears)
    assert answer.status == 200, answer.body
    text = answer.body.decode()
    for compartment in ("auth", "keyring", "directory", "store", "queue", "incident"):
        assert f'bulkhead_scrape_answered{{tenant="kddi",compartment="{compartment}"}} 1\n' in text
    assert "stnet" not in text and 'bulkhead_delivery_seconds_count{tenant="kddi"}' in text
    assert client.send("GET", "/v1/status", None, bears).status == 403
    other = load_installation(live.directory).tenant("stnet").settings
    stranger = ApiClient(
        other.text("listen.address"), other.integer("listen.console"), other.text("names.console"), context
    )
    assert stranger.send("GET", "/v1/metrics", None, bears).status == 401
    client.close()
    stranger.close()
