"""Narrowing: a compartment sees what its rows say, and nothing of another's."""

import json
from pathlib import Path

import pytest

from bulkhead.boundary.processes import PROCESSES
from bulkhead.config import Installation, load_installation, narrow, render_installation, render_tenant, write_file
from bulkhead.config.schema import COMPARTMENTS, SETTINGS, TENANT_SETTINGS, Setting
from bulkhead.errors import ConfigError

SHARED = {
    "auth.cache_minutes": {"keyring"},
    "keyring.failures_per_hour": {"auth"},
    "courier.port": {"dialer"},
    "courier.allow_networks": {"dialer"},
    "resolver.nameservers": {"dialer"},
}
"""Settings that another compartment than the section's own may see: dialer obeys the limits of those it dials for,
keyring holds the other half of a cached login, auth stays below keyring's own limit."""


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    write_file(tmp_path / "bulkhead.toml", render_installation({"operator": "secret of the installation"}))
    tenant = {
        "id": "kddi",
        "slot": 7,
        "name": "secret of the tenant",
        "names.mx": "mx.kddi.example",
        "names.submit": "smtp.kddi.example",
        "names.access": "imap.kddi.example",
        "names.console": "console.kddi.example",
        "listen.address": "127.0.1.1",
        "resolver.zone_file": "demo.zone",
        "resolver.nameservers": ("192.0.2.53",),
        "courier.allow_networks": ("127.0.1.0/24",),
    }
    write_file(tmp_path / "tenants" / "kddi.toml", render_tenant(tenant))
    (tmp_path / "demo.zone").write_text("kddi.example. 60 IN MX 10 mx.kddi.example.\n")
    return load_installation(tmp_path)


def seen(installation: Installation, compartment: str) -> set[str]:
    keys = set()
    for name, value in narrow(installation, installation.tenant("kddi"), compartment).items():
        keys |= {f"{name}.{inner}" for inner in value} if isinstance(value, dict) else {name}
    return keys


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_a_compartment_sees_exactly_the_rows_that_list_it(installation: Installation, compartment: str) -> None:
    listed = {setting.key for setting in SETTINGS if compartment in setting.receivers}
    assert seen(installation, compartment) == {key.replace("zone_file", "zone") for key in listed}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_no_compartment_sees_anothers_section_unless_it_is_written_here(setting: Setting) -> None:
    if setting.section in COMPARTMENTS:
        strangers = set(setting.receivers) - {setting.section}
        assert strangers == SHARED.get(setting.key, set())


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_what_is_narrowed_is_plain_json(installation: Installation, compartment: str) -> None:
    narrowed = narrow(installation, installation.tenant("kddi"), compartment)
    assert json.loads(json.dumps(narrowed)) == narrowed
    assert "secret of" not in json.dumps(narrowed)


def test_the_resolver_gets_the_zones_text_and_no_file_name(installation: Installation) -> None:
    resolver = narrow(installation, installation.tenant("kddi"), "resolver")["resolver"]
    assert isinstance(resolver, dict)
    assert resolver["zone"] == "kddi.example. 60 IN MX 10 mx.kddi.example.\n"
    assert "zone_file" not in resolver


def test_a_zone_file_that_went_away_is_a_config_error(installation: Installation) -> None:
    (installation.directory / "demo.zone").unlink()
    with pytest.raises(ConfigError, match=r"resolver\.zone_file"):
        narrow(installation, installation.tenant("kddi"), "resolver")


@pytest.mark.parametrize(("gate", "name"), [("mx", "mx"), ("submit", "smtp"), ("access", "imap")])
def test_a_gate_knows_its_own_name_only(installation: Installation, gate: str, name: str) -> None:
    narrowed = narrow(installation, installation.tenant("kddi"), gate)
    assert narrowed["names"] == {gate: f"{name}.kddi.example"}


def test_listeners_and_slots_stay_with_the_supervisor() -> None:
    for key, setting in TENANT_SETTINGS.items():
        if setting.section == "listen" or key == "slot" or setting.name == "workers_max":
            assert not setting.receivers


def test_an_unknown_compartment_is_our_bug(installation: Installation) -> None:
    with pytest.raises(ValueError, match="no compartment web"):
        narrow(installation, installation.tenant("kddi"), "web")


def test_receivers_are_the_compartments_that_exist() -> None:
    assert set(COMPARTMENTS) == set(PROCESSES)
