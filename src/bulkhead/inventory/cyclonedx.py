"""Components as a CycloneDX 1.6 document, and back. PURE.

Source: ECMA-424 (CycloneDX 1.6), its JSON schema; tests hold the document against that schema.
"""

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bulkhead.errors import ConfigError
from bulkhead.inventory.components import LIBRARY, PACKAGE, PLATFORM, US, Component, digest

DOCUMENT_MAX = 8 << 20  # octets
COMPONENTS_MAX = 10_000
_KINDS = {PACKAGE: "library", PLATFORM: "platform", LIBRARY: "file"}
_EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*")
_KIND, _USED, _MAPPED, _WITHIN = "bulkhead:kind", "bulkhead:used", "bulkhead:mapped", "bulkhead:within"
_Text = Annotated[str, Meta(max_length=1024)]


def document(rows: Sequence[Component], version: str, now: datetime) -> dict[str, Any]:
    """The document. version: ours. now: with its zone. The serial number follows from what is installed."""
    ours = f"pkg:pypi/{US}@{version}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest(rows).hex())}",
        "version": 1,
        "metadata": {
            "timestamp": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application", "bom-ref": ours, "name": US, "version": version, "purl": ours,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": [_component(row) for row in rows],
        "dependencies": [{"ref": ours, "dependsOn": [row.reference for row in rows if row.used or row.mapped]}],
    }  # fmt: skip


def _component(row: Component) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": _KINDS[row.kind], "bom-ref": row.reference, "name": row.name, "version": row.version,
        "scope": "required" if row.used or row.mapped else "excluded",
    }  # fmt: skip
    if row.sha256:
        found["hashes"] = [{"alg": "SHA-256", "content": row.sha256}]
    if row.licence:
        plain = _EXPRESSION.fullmatch(row.licence)
        found["licenses"] = [{"expression": row.licence} if plain else {"license": {"name": row.licence}}]
    if row.version:
        found["purl"] = row.purl
    said = ((_KIND, row.kind), (_USED, ",".join(row.used)), (_MAPPED, ",".join(row.mapped)), (_WITHIN, row.within))
    found["properties"] = [{"name": name, "value": value} for name, value in said if value]
    return found


class _Hash(msgspec.Struct, frozen=True):
    alg: _Text
    content: _Text


class _Property(msgspec.Struct, frozen=True):
    name: _Text
    value: _Text = ""


class _Row(msgspec.Struct, frozen=True):
    name: _Text
    version: _Text = ""
    hashes: Annotated[tuple[_Hash, ...], Meta(max_length=16)] = ()
    properties: Annotated[tuple[_Property, ...], Meta(max_length=64)] = ()


class _Document(msgspec.Struct, frozen=True):
    components: Annotated[tuple[_Row, ...], Meta(max_length=COMPONENTS_MAX)]
    bom: str = msgspec.field(name="bomFormat", default="")


def read(data: bytes) -> tuple[Component, ...]:
    """The components of a document that we wrote; licences and times are not read. Raises ConfigError."""
    if len(data) > DOCUMENT_MAX:
        raise ConfigError(f"an inventory has at most {DOCUMENT_MAX} octets")
    try:
        found = msgspec.json.decode(data, type=_Document)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ConfigError(f"this is no CycloneDX document: {str(error)[:200]}") from None
    rows = []
    for row in found.components:
        said = {one.name: one.value for one in row.properties}
        if found.bom != "CycloneDX" or said.get(_KIND) not in _KINDS:
            raise ConfigError("this is no inventory that `bulkhead inventory --cyclonedx` wrote")
        sha256 = next((one.content for one in row.hashes if one.alg == "SHA-256"), "")
        used, mapped = (tuple(filter(None, said.get(key, "").split(","))) for key in (_USED, _MAPPED))
        rows.append(
            Component(row.name, row.version, said[_KIND], "", sha256, said.get(_WITHIN, ""), used=used, mapped=mapped)
        )
    return tuple(rows)
