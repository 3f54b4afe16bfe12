"""What is installed and who loads it: measured, against the table of processes; as CycloneDX 1.6, and back."""

import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema_rs
import pytest
from tests.boundaries.test_imports import PARTS

from bulkhead.boundary.processes import PROCESSES, Image
from bulkhead.errors import ConfigError
from bulkhead.inventory import cyclonedx
from bulkhead.inventory.components import Component, Loads, components, digest, find, measure_loads
from bulkhead.inventory.loaded import IMAGE

SCHEMAS = Path(__file__).parents[1] / "vectors/cyclonedx"
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def loads() -> Loads:
    return measure_loads()


@pytest.fixture(scope="module")
def rows(loads: Loads) -> tuple[Component, ...]:
    return components(loads)


def _users(rows: tuple[Component, ...], name: str, within: str = "") -> tuple[str, ...]:
    (row,) = [row for row in rows if (row.name, row.within) == (name, within)]
    return row.used


def test_every_package_of_the_table_of_processes_is_found_in_its_image(loads: Loads) -> None:
    for image in Image:
        listed = {module for process in PROCESSES.values() if process.image is image for module in process.modules}
        found = set(loads[IMAGE + image.value]["modules"])
        assert listed <= found
        assert {name for name in found if not name.startswith("_")} <= listed | PARTS


def test_a_compartment_loads_no_more_than_its_image_has(loads: Loads) -> None:
    for name, process in PROCESSES.items():
        assert set(loads[name]["modules"]) <= set(loads[IMAGE + process.image.value]["modules"]), name


def test_each_of_the_parsers_of_hostile_bytes_is_loaded_by_one_compartment(rows: tuple[Component, ...]) -> None:
    assert _users(rows, "h11") == ("console",)
    assert _users(rows, "dnspython") == ("resolver",)
    assert _users(rows, "bcrypt") == _users(rows, "pynacl") == _users(rows, "libsodium", "pynacl") == ("auth", "cli")
    assert "packaging" in {row.name for row in rows if row.used == ("cli",)}


def test_code_of_an_image_is_in_the_memory_of_all_that_fork_from_it(rows: tuple[Component, ...]) -> None:
    (h11,) = find(rows, "h11")
    assert set(h11.mapped) == {name for name, process in PROCESSES.items() if process.image is Image.FRONT}


def test_libraries_compiled_into_packages_are_components_of_their_own(rows: tuple[Component, ...]) -> None:
    versions = {(row.name, row.within): row.version for row in rows if row.kind == "platform"}
    assert set(versions) == {
        ("python", ""), ("openssl", ""), ("openssl", "cryptography"), ("sqlite", ""), ("libsodium", "pynacl"),
        ("libuv", "uvloop"),
    }  # fmt: skip
    assert all(versions[key] for key in versions if key != ("libsodium", "pynacl"))
    since = {row.name: row.since for row in rows if row.kind == "package"}
    assert [row.since for row in find(rows, "openssl") if row.within] == [since["cryptography"]]
    assert {row.within for row in find(rows, "OpenSSL")} == {"", "cryptography"}
    assert {row.name for row in find(rows, "uvloop")} == {"uvloop", "libuv"}


def test_the_document_is_cyclonedx_and_names_each_component_once(rows: tuple[Component, ...]) -> None:
    document = cyclonedx.document(rows, "0.1.0", NOW)
    parts = ("spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")
    found = [(f"http://cyclonedx.org/schema/{name}", json.loads((SCHEMAS / name).read_text())) for name in parts]
    schema = json.loads((SCHEMAS / "bom-1.6.SNAPSHOT.schema.json").read_text())
    validator = jsonschema_rs.validator_for(schema, registry=jsonschema_rs.Registry(found), validate_formats=True)
    assert [(error.instance_path, error.message[:200]) for error in validator.iter_errors(document)] == []
    assert not validator.is_valid({**document, "components": [{"name": "h11"}]})
    references = [row["bom-ref"] for row in document["components"]]
    assert len(references) == len(set(references)) == len(rows)
    scopes = {row["name"]: row["scope"] for row in document["components"]}
    assert (scopes["h11"], scopes["pytest"]) == ("required", "excluded")


def test_a_document_is_read_again_to_the_same_digest(rows: tuple[Component, ...]) -> None:
    document = cyclonedx.document(rows, "0.1.0", NOW)
    again = cyclonedx.read(json.dumps(document).encode())
    assert digest(again) == digest(rows)
    assert [row.used for row in again] == [row.used for row in rows]
    document["components"][0]["version"] += ".1"
    assert digest(cyclonedx.read(json.dumps(document).encode())) != digest(rows)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"bomFormat":"CycloneDX","components":[{"name":"x"}]}'])
def test_another_document_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError):
        cyclonedx.read(data)
