"""Loading: what is right comes through whole, and what is wrong is named where it stands."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead.config import Installation, check_files, load_installation
from bulkhead.config.lines import key_lines
from bulkhead.config.schema import FILE_BYTES_MAX, TENANT_SETTINGS, ZONE_BYTES_MAX
from bulkhead.errors import ConfigError

KDDI = """\
schema = 1
id = "kddi"
slot = 0
[names]
console = "console.kddi.example"
mx = "mx.kddi.example"
submit = "smtp.kddi.example"
access = "imap.kddi.example"

[listen]
address = "127.0.1.1"
"""


def install(directory: Path, installation: str = "schema = 1\n", **tenants: str) -> Path:
    (directory / "bulkhead.toml").write_text(installation)
    (directory / "tenants").mkdir(exist_ok=True)
    for tenant, text in tenants.items():
        (directory / "tenants" / f"{tenant}.toml").write_text(text)
    return directory


def stnet(text: str = KDDI) -> str:
    return text.replace("kddi", "stnet").replace("slot = 0", "slot = 1").replace("127.0.1.1", "127.0.1.2")


def problems(directory: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_installation(directory)
    return caught.value.public.splitlines()


def only_problem(directory: Path) -> str:
    (problem,) = problems(directory)
    return problem


def test_a_minimal_installation_loads_with_every_default(tmp_path: Path) -> None:
    loaded = load_installation(install(tmp_path, kddi=KDDI, stnet=stnet()))
    assert [*loaded.tenants] == ["kddi", "stnet"]
    tenant = loaded.tenant("kddi")
    assert set(tenant.settings.values) == set(TENANT_SETTINGS)
    assert tenant.settings.integer("listen.imaps") == 993
    assert tenant.settings.text("names.mx") == "mx.kddi.example"
    assert tenant.settings.decimal("auth.failure_seconds") == 1.0
    assert tenant.settings.texts("courier.allow_networks") == ()
    assert loaded.settings.boolean("production") is False
    assert loaded.settings.integers("retired_slots") == ()


def test_each_value_knows_the_line_it_comes_from(tmp_path: Path) -> None:
    loaded = load_installation(install(tmp_path, kddi=KDDI))
    origins = loaded.tenant("kddi").settings.origins
    assert str(origins["slot"]) == "tenants/kddi.toml:3"
    assert str(origins["names.access"]) == "tenants/kddi.toml:8"
    assert str(origins["listen.address"]) == "tenants/kddi.toml:11"
    assert str(origins["listen.mx"]) == "default"


def test_lines_inside_a_multi_line_string_are_no_settings() -> None:
    text = 'a = """\nb = 1\n"""\nb = 2\n[c]\n"d" = 3\ne . f = 4\n'
    assert dict(key_lines(text)) == {"a": 1, "b": 4, "c": 5, "c.d": 6, "c.e.f": 7}


def test_an_inline_table_and_a_dotted_key_are_the_section(tmp_path: Path) -> None:
    text = KDDI.replace("slot = 0", "slot = 0\nmx = { workers = 2 }\naccess.workers = 3")
    values = load_installation(install(tmp_path, kddi=text)).tenant("kddi").settings
    assert (values.integer("mx.workers"), values.integer("access.workers")) == (2, 3)
    assert str(values.origins["mx.workers"]) == "tenants/kddi.toml:4"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[mx]\nworkrs = 2", "tenants/kddi.toml:13: unknown setting mx.workrs: did you mean mx.workers?"),
        ("[mxx]\nworkers = 2", "tenants/kddi.toml:12: unknown section mxx: did you mean mx?"),
        ("[zzzzzz]\n", "tenants/kddi.toml:12: unknown section zzzzzz: see docs/configuration.md"),
        ("[mx.deep]\nx = 1", "tenants/kddi.toml:12: unknown section mx.deep: did you mean mx?"),
        ("[log]\nlevel = 'info'", "tenants/kddi.toml:12: unknown section log"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(tmp_path: Path, line: str, expected: str) -> None:
    assert only_problem(install(tmp_path, kddi=KDDI + line)).startswith(expected)


def test_a_key_of_the_other_file_is_sent_there(tmp_path: Path) -> None:
    directory = install(tmp_path, "schema = 1\nslot = 3\n", kddi=KDDI.replace("slot = 0", "slot = 0\nuid_base = 7"))
    first, second = problems(directory)
    assert first == "bulkhead.toml:2: slot does not stand in this file but in tenants/<id>.toml: move it there"
    assert second.startswith("tenants/kddi.toml:4: uid_base does not stand in this file but in bulkhead.toml")


def test_a_section_without_brackets_is_explained(tmp_path: Path) -> None:
    text = KDDI.replace("slot = 0", "slot = 0\nmx = 5")
    assert "mx is a section, not a setting: write [mx]" in only_problem(install(tmp_path, kddi=text))


def test_a_quoted_dotted_key_is_not_a_second_spelling(tmp_path: Path) -> None:
    text = KDDI.replace("slot = 0", 'slot = 0\n"mx.workers" = 5')
    assert 'unknown setting "mx.workers"' in only_problem(install(tmp_path, kddi=text))


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("[mx]\nworkers = -1", "mx.workers = -1: must be an integer, 0 to 64"),
        ("[mx]\nworkers = 65", "mx.workers = 65: must be an integer, 0 to 64"),
        ("[mx]\nworkers = true", "mx.workers = True: must be an integer, 0 to 64"),
        ("[mx]\nworkers = 1.0", "mx.workers = 1.0: must be an integer, 0 to 64"),
        ('[mx]\nworkers = "1"', "mx.workers = '1': must be an integer, 0 to 64"),
        ("[mx]\nworkers = {}", "mx.workers = {}: must be an integer"),
        ("[auth]\nfailure_seconds = nan", "auth.failure_seconds = nan: must be a number, 0.1 to 30.0"),
        ("[auth]\nfailure_seconds = inf", "auth.failure_seconds = inf: must be a number, 0.1 to 30.0"),
        ("[pinned]\nqueue_key = 'AAAA'", "pinned.queue_key = 'AAAA': must be base64 of 32 bytes"),
        ("[pinned]\nqueue_key = '" + "A" * 42 + "B='", "must be base64 of 32 bytes"),
        ("[courier]\nallow_networks = ['127.0.0.1/8']", "no host bits"),
        ("[courier]\nallow_networks = ['127.0.0.1']", "must be a network with its prefix length"),
        ("[courier]\nallow_networks = '127.0.0.0/8'", "must be a list"),
        ("[courier]\nallow_networks = [1]", "must be a network"),
        ("[resolver]\nnameservers = ['192.0.2.1', '192.0.2.1']", "must be a list without repetitions"),
        ("[resolver]\nnameservers = ['fe80::1%eth0']", "must be an IP address without port or scope"),
        ("[resolver]\nnameservers = ['::ffff:192.0.2.1']", 'must be written as IPv4: "192.0.2.1"'),
        ("[resolver]\nnameservers = ['224.0.0.1']", "not a multicast group"),
        ("[resolver]\nzone_file = 'a\\u0000b'", None),
        ('[resolver]\nzone_file = "a\\u0000b"', "must be a path in quotes"),
        ('[ledger]\norigin = "a\\nb"', "must be text in quotes on one line"),
        ("[mx]\nworkers = 99999999999999999999999999", "must be an integer, 0 to 64"),
    ],
)
def test_a_value_that_is_not_allowed_is_shown_with_what_is(tmp_path: Path, setting: str, allowed: str | None) -> None:
    directory = install(tmp_path, kddi=KDDI + setting)
    if allowed is None:
        load_installation(directory)  # single quotes: the backslash is a character like others
    else:
        problem = only_problem(directory)
        assert problem.startswith("tenants/kddi.toml:13: ")
        assert allowed in problem


@pytest.mark.parametrize("name", ["localhost", "mx..example", "127.0.0.1", "mx kddi.example", "a" * 64 + ".example"])
def test_a_name_that_no_certificate_can_carry_is_refused(tmp_path: Path, name: str) -> None:
    assert "must be a host name" in only_problem(install(tmp_path, kddi=KDDI.replace("mx.kddi.example", name)))


def test_names_and_addresses_are_kept_in_one_spelling(tmp_path: Path) -> None:
    text = KDDI.replace("mx.kddi", "MX.Kddi").replace("127.0.1.1", "2001:DB8:0::1")
    values = load_installation(install(tmp_path, kddi=text)).tenant("kddi").settings
    assert (values.text("names.mx"), values.text("listen.address")) == ("mx.kddi.example", "2001:db8::1")


def test_missing_required_settings_are_all_named(tmp_path: Path) -> None:
    found = problems(install(tmp_path, "", kddi="schema = 1\n"))
    assert [problem.split(" is missing")[0] for problem in found] == [
        "bulkhead.toml: schema",
        "tenants/kddi.toml: id",
        "tenants/kddi.toml: slot",
        "tenants/kddi.toml: names.mx",
        "tenants/kddi.toml: names.submit",
        "tenants/kddi.toml: names.access",
        "tenants/kddi.toml: names.console",
        "tenants/kddi.toml: listen.address",
    ]


def test_a_wrong_required_value_is_not_also_called_missing(tmp_path: Path) -> None:
    assert "id = 'K'" in only_problem(install(tmp_path, kddi=KDDI.replace('"kddi"', '"K"')))


def test_a_later_schema_is_refused(tmp_path: Path) -> None:
    assert "schema = 2: must be an integer, 1" in only_problem(install(tmp_path, "schema = 2\n"))


def test_an_id_that_is_not_the_files_name_is_refused(tmp_path: Path) -> None:
    assert only_problem(install(tmp_path, other=KDDI)) == (
        'tenants/other.toml:2: id = "kddi": must be the name of its file: "other"'
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (("slot = 1", "slot = 0"), "slot = 0: tenants/kddi.toml has it"),
        (("127.0.1.2", "127.0.1.1"), "listen.address = 127.0.1.1: tenants/kddi.toml has it"),
        (("smtp.stnet", "smtp.kddi"), "names.submit = smtp.kddi.example: tenants/kddi.toml has it"),
        (("127.0.1.2", "0.0.0.0"), "listen.address = 0.0.0.0: takes every address"),
        (("slot = 1", "slot = 5"), "slot = 5: retired in bulkhead.toml"),
    ],
)
def test_what_two_tenants_cannot_share_is_found(tmp_path: Path, spoil: tuple[str, str], said: str) -> None:
    directory = install(tmp_path, "schema = 1\nretired_slots = [5]\n", kddi=KDDI, stnet=stnet().replace(*spoil))
    assert said in only_problem(directory)


def test_a_disabled_tenant_keeps_its_slot_but_not_its_address(tmp_path: Path) -> None:
    off = KDDI.replace("slot = 0", "slot = 0\ndisabled = true")
    moved = KDDI.replace('id = "kddi"', 'id = "heir"').replace("slot = 0", "slot = 1")
    assert load_installation(install(tmp_path, kddi=off, heir=moved)).tenant("kddi").disabled
    install(tmp_path, heir=moved.replace("slot = 1", "slot = 0"))
    assert "slot = 0" in only_problem(tmp_path)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("imaps = 25", "listen.imaps = 25: already listen.mx"),
        ("[mx]\nconnections_max = 10", "mx.connections_per_source_max = 50: must not be above mx.connections_max"),
        ("[queue]\nexpire_seconds = 15000\nwarn_seconds = 15001", "queue.warn_seconds = 15001: must not be above"),
    ],
)
def test_settings_that_contradict_each_other_are_found(tmp_path: Path, lines: str, said: str) -> None:
    assert said in only_problem(install(tmp_path, kddi=KDDI + lines))


def test_two_listeners_may_both_be_closed(tmp_path: Path) -> None:
    load_installation(install(tmp_path, kddi=KDDI + "imaps = 0\npop3s = 0\n"))


def test_one_name_serves_one_compartment(tmp_path: Path) -> None:
    text = KDDI.replace("imap.kddi", "smtp.kddi")
    assert "already names.submit; no two compartments share a name" in only_problem(install(tmp_path, kddi=text))


def test_a_file_of_one_octet_above_the_limit_is_refused(tmp_path: Path) -> None:
    text = "schema = 1\n#" + "x" * FILE_BYTES_MAX
    install(tmp_path, text[:FILE_BYTES_MAX])
    load_installation(tmp_path)
    assert f"is larger than {FILE_BYTES_MAX} octets" in only_problem(install(tmp_path, text[: FILE_BYTES_MAX + 1]))


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bulkhead.toml").write_bytes(b"schema = 1 # \xff")
    assert only_problem(tmp_path) == "bulkhead.toml: is not UTF-8 at octet 13"


def test_a_fifo_in_place_of_a_file_does_not_hold_the_reader(tmp_path: Path) -> None:
    import os

    install(tmp_path)
    os.mkfifo(tmp_path / "tenants" / "kddi.toml")
    assert only_problem(tmp_path) == "tenants/kddi.toml: is not a regular file"


BROKEN = {
    "no value": "schema = ",
    "integer of 5,000 digits": "schema = " + "9" * 5000,
    "50,000 brackets": "x = " + "[" * 50_000,
    "key twice": "schema = 1\nschema = 1",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_broken_toml_is_one_problem(tmp_path: Path, text: str) -> None:
    assert only_problem(install(tmp_path, text)).startswith("bulkhead.toml: not valid TOML: ")


def test_a_directory_that_is_no_installation_says_how_to_make_one(tmp_path: Path) -> None:
    assert "bulkhead init DIR" in only_problem(tmp_path)


def test_an_unknown_tenant_is_answered_with_the_nearest(tmp_path: Path) -> None:
    loaded = load_installation(install(tmp_path, kddi=KDDI))
    with pytest.raises(ConfigError, match="did you mean kddi"):
        loaded.tenant("kdi")
    with pytest.raises(ConfigError, match="there are kddi"):
        loaded.tenant("../../etc/passwd")


def test_editors_leavings_are_no_tenants(tmp_path: Path) -> None:
    directory = install(tmp_path, kddi=KDDI)
    for name in (".kddi.toml.swp", "kddi.toml~", ".#kddi.toml", "README"):
        (directory / "tenants" / name).write_text("not TOML at all")
    assert [*load_installation(directory).tenants] == ["kddi"]


def test_a_free_slot_is_one_that_nobody_has_or_had(tmp_path: Path) -> None:
    loaded = load_installation(install(tmp_path, "schema = 1\nretired_slots = [1, 2]\n", kddi=KDDI))
    assert loaded.free_slot() == 3


def zoned(directory: Path) -> Installation:
    return load_installation(install(directory, kddi=KDDI + '[resolver]\nzone_file = "demo.zone"\n'))


def test_a_zone_file_that_cannot_be_read_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^tenants/kddi.toml:13: resolver.zone_file = \"demo.zone\": .* No such file"
    ):
        check_files(zoned(tmp_path))
    (tmp_path / "demo.zone").write_text("x" * (ZONE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="is larger than"):
        check_files(zoned(tmp_path))
    (tmp_path / "demo.zone").write_text("x" * ZONE_BYTES_MAX)
    check_files(zoned(tmp_path))


def test_asking_for_a_value_as_another_type_is_our_bug(tmp_path: Path) -> None:
    values = load_installation(install(tmp_path, kddi=KDDI)).tenant("kddi").settings
    for wrong in (
        lambda: values.text("slot"),
        lambda: values.integer("disabled"),
        lambda: values.boolean("slot"),
        lambda: values.decimal("slot"),
        lambda: values.texts("slot"),
        lambda: values.integers("slot"),
        lambda: values["mx.nothing"],
    ):
        with pytest.raises(ValueError, match=r"slot|disabled|mx\.nothing"):
            wrong()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.dictionaries(
        st.sampled_from(sorted(TENANT_SETTINGS)),
        st.sampled_from(
            [
                "0",
                "-1",
                "1",
                "1e400",
                "true",
                '""',
                '"x"',
                "[]",
                "[[]]",
                "{}",
                "1979-05-27",
                "[1, 'a']",
                '"\\U0010FFFF"',
            ]
        ),
        max_size=6,
    )
)
def test_whatever_a_setting_is_given_only_a_config_error_comes_of_it(tmp_path: Path, given: dict[str, str]) -> None:
    text = "".join(f"{key} = {value}\n" for key, value in given.items())
    install(tmp_path, kddi=text)
    try:
        load_installation(tmp_path)
    except ConfigError as error:
        assert all(problem.startswith("tenants/kddi.toml") for problem in error.public.splitlines())


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.binary(max_size=200))
def test_random_bytes_raise_only_config_errors(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "bulkhead.toml").write_bytes(octets)
    with pytest.raises(ConfigError):
        load_installation(tmp_path)
