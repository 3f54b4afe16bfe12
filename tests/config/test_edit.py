"""Setting one value by command: the rest of the operator's file stays as it is."""

from pathlib import Path

import pytest

from bulkhead.config import load_installation, render_installation, render_tenant, set_value, write_file
from bulkhead.config.values import Value
from bulkhead.errors import ConfigError

FILE = "tenants/kddi.toml"
KEY = "A" * 43 + "="


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    names = {f"names.{gate}": f"{gate}.kddi.example" for gate in ("mx", "submit", "access", "console")}
    write_file(tmp_path / "bulkhead.toml", render_installation({}))
    text = render_tenant({"id": "kddi", "slot": 0, "listen.address": "127.0.1.1", **names})
    write_file(tmp_path / FILE, text.replace("[names]", "# mine\n[names]"))
    return tmp_path


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pinned.queue_key", KEY),
        ("disabled", True),
        ("slot", 9),
        ("courier.allow_networks", ("127.0.1.0/24",)),
        ("auth.failure_seconds", 2.0),
    ],
)
def test_one_line_changes_and_the_value_is_there(directory: Path, key: str, value: Value) -> None:
    before = (directory / FILE).read_text().splitlines()
    set_value(directory, FILE, key, value)
    after = (directory / FILE).read_text().splitlines()
    assert len(before) == len(after)
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1
    assert load_installation(directory).tenant("kddi").settings[key] == value


def test_a_value_set_twice_stands_once(directory: Path) -> None:
    set_value(directory, FILE, "mx.workers", 2)
    set_value(directory, FILE, "mx.workers", 3)
    assert (directory / FILE).read_text().count("\nworkers = ") == 1
    assert load_installation(directory).tenant("kddi").settings.integer("mx.workers") == 3


def test_the_installations_own_file_is_set_too(directory: Path) -> None:
    set_value(directory, "bulkhead.toml", "retired_slots", (4, 5))
    assert load_installation(directory).settings.integers("retired_slots") == (4, 5)


def test_a_file_without_the_section_or_the_comment_gets_them(directory: Path) -> None:
    lines = [line for line in (directory / FILE).read_text().splitlines() if line and not line.startswith("#")]
    kept = [line for line in lines if line not in ("[mx]", "[queue]")]
    write_file(directory / FILE, "\n".join(kept), replace=True)
    set_value(directory, FILE, "queue.expire_seconds", 86_400)
    set_value(directory, FILE, "queue.warn_seconds", 7200)
    set_value(directory, FILE, "disabled", True)
    values = load_installation(directory).tenant("kddi").settings
    assert (values.integer("queue.expire_seconds"), values.integer("queue.warn_seconds")) == (86_400, 7200)
    assert values.boolean("disabled")


def test_what_no_single_line_holds_is_left_for_the_operator(directory: Path) -> None:
    text = (directory / FILE).read_text().replace("# allow_networks = []", "allow_networks = [\n  '127.0.0.0/8',\n]")
    write_file(directory / FILE, text, replace=True)
    with pytest.raises(ConfigError, match=r"courier\.allow_networks cannot be set by a command; write it"):
        set_value(directory, FILE, "courier.allow_networks", ("127.0.1.0/24",))
    assert (directory / FILE).read_text() == text


def test_an_inline_table_is_left_for_the_operator(directory: Path) -> None:
    text = (
        (directory / FILE).read_text().replace("# disabled = false", "disabled = false\nqueue = { warn_seconds = 5 }")
    )
    write_file(directory / FILE, text.replace("[queue]", ""), replace=True)
    before = (directory / FILE).read_text()
    with pytest.raises(ConfigError, match="cannot be set by a command"):
        set_value(directory, FILE, "queue.warn_seconds", 6)
    assert (directory / FILE).read_text() == before


def test_a_value_that_is_not_allowed_changes_nothing(directory: Path) -> None:
    before = (directory / FILE).read_text()
    with pytest.raises(ConfigError, match="0 to 64"):
        set_value(directory, FILE, "mx.workers", 65)
    assert (directory / FILE).read_text() == before
    with pytest.raises(ValueError, match="no setting"):
        set_value(directory, FILE, "uid_base", 0)
