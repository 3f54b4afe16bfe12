"""New files: they load again as what was given, and never take the place of one that is there."""

from pathlib import Path

import pytest

from bulkhead.config import load_installation, render_installation, render_tenant, write_file
from bulkhead.config.reference import main, reference_page
from bulkhead.config.schema import SETTINGS, TENANT_SETTINGS
from bulkhead.config.values import Value
from bulkhead.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
TENANT: dict[str, Value] = {
    "id": "kddi",
    "slot": 0,
    "name": 'au "one" \\ 電話',
    "names.mx": "mx.kddi.example",
    "names.submit": "smtp.kddi.example",
    "names.access": "imap.kddi.example",
    "names.console": "console.kddi.example",
    "pinned.queue_key": "A" * 43 + "=",
    "listen.address": "127.0.1.1",
    "listen.mx": 2525,
    "auth.failure_seconds": 0.5,
    "courier.allow_networks": ("127.0.1.0/24", "2001:db8::/32"),
}


def test_a_rendered_installation_loads_as_what_was_given(tmp_path: Path) -> None:
    write_file(tmp_path / "bulkhead.toml", render_installation({"production": True, "accept_level": ("B",)}))
    write_file(tmp_path / "tenants" / "kddi.toml", render_tenant(TENANT))
    loaded = load_installation(tmp_path)
    assert loaded.settings.boolean("production")
    assert loaded.settings.texts("accept_level") == ("B",)
    values = loaded.tenant("kddi").settings
    assert {key: values[key] for key in TENANT} == TENANT
    assert {key for key in TENANT_SETTINGS if values.origins[key].file} == {*TENANT, "schema"}


def test_a_rendered_file_shows_every_setting_with_its_sentence() -> None:
    text = " ".join(line.lstrip("# ") for line in (render_installation({}) + render_tenant(TENANT)).splitlines())
    for setting in SETTINGS:
        assert setting.sentence[:-1] in text
        assert f"{setting.name} = " in text


def test_the_commented_defaults_load_when_the_comment_sign_is_taken_away(tmp_path: Path) -> None:
    names = {setting.name for setting in SETTINGS}
    lines = [
        line[2:] if line.startswith("# ") and line[2:].partition(" = ")[0] in names else line
        for line in render_tenant(TENANT).splitlines()
    ]
    write_file(tmp_path / "bulkhead.toml", render_installation({}))
    write_file(tmp_path / "tenants" / "kddi.toml", "\n".join(lines))
    values = load_installation(tmp_path).tenant("kddi").settings
    assert all(values.origins[key].file for key in TENANT_SETTINGS)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({**TENANT, "slot": -1}, "slot = -1: must be an integer"),
        ({**TENANT, "mx.wrkers": 1}, r"no setting mx\.wrkers"),
        ({"id": "kddi"}, "slot is missing"),
    ],
)
def test_a_file_that_would_not_load_is_not_rendered(values: dict[str, Value], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        render_tenant(values)


def test_an_existing_file_is_left_as_it_is_unless_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "tenants" / "kddi.toml"
    write_file(path, "first")
    with pytest.raises(ConfigError, match="exists already"):
        write_file(path, "second")
    assert path.read_text() == "first"
    write_file(path, "third", replace=True)
    assert path.read_text() == "third"
    assert [entry.name for entry in path.parent.iterdir()] == ["kddi.toml"]
    assert path.stat().st_mode & 0o027 == 0


def test_a_place_that_cannot_be_written_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "tenants").write_text("a file where a folder should be")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_file(tmp_path / "tenants" / "kddi.toml", "text", replace=True)


def test_the_reference_page_is_made_from_the_table_as_it_is_now() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == reference_page(), "stale: run make docs"


def test_every_setting_has_a_row_in_the_reference_page() -> None:
    page = reference_page()
    for setting in SETTINGS:
        assert f"| `{setting.key}` |" in page
        assert setting.sentence in page


def test_the_reference_command_tells_a_stale_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "configuration.md"
    assert main(["--check", str(page)]) == 1
    assert "run: make docs" in capsys.readouterr().err
    assert main([str(page)]) == 0
    assert main(["--check", str(page)]) == 0
    assert main([]) == 2
