"""Access records in the forms that collectors take: OCSF, ECS, CEF and RFC 5424. PURE.

An account is named by its id, or by its address where the caller looked it up; never by both kinds at once. Fields
follow OCSF 1.3 (classes 3002 Authentication, 4009 Email Activity, 6003 API Activity, 6005 Datastore Activity), ECS 8,
CEF 0 (revision 26).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from bulkhead.boundary.messages.registry import name_of
from bulkhead.boundary.processes import GATES
from bulkhead.identifiers import format_id
from bulkhead.records.access import NOBODY, Access, Act, Outcome, actor_text, source_text

VENDOR, PRODUCT = "Bulkhead", "Bulkhead"
FACILITY_AUTHPRIV, NOTICE, INFORMATIONAL = 10, 5, 6
ENTERPRISE = "32473"  # the number that RFC 5612 keeps for documentation: Bulkhead has none of its own
_GATES: Mapping[int, str] = MappingProxyType({number: name for name, number in GATES.items()})
_ACTS = MappingProxyType({act.value: act.name.lower() for act in Act})
_DONE = frozenset({Outcome.DONE, Outcome.ENDED, Outcome.REHEARSED})
_OUTCOMES = MappingProxyType({outcome.value: outcome.name.lower() for outcome in Outcome})


@dataclass(frozen=True, slots=True)
class Entry:
    """A record with where it is from. address: of the account, or empty. officer: of an act of staff, where known."""

    tenant: str
    compartment: str
    access: Access
    address: str = ""
    officer: str = ""

    @property
    def act(self) -> str:
        """Its act in a word."""
        return _ACTS.get(self.access.act, f"act-{self.access.act}")

    @property
    def outcome(self) -> str:
        """Its outcome in a word."""
        return _OUTCOMES.get(self.access.outcome, f"outcome-{self.access.outcome}")

    @property
    def gate(self) -> str:
        """The compartment that asked; empty where none did."""
        return _GATES.get(self.access.gate, "")

    @property
    def account(self) -> str:
        """The account's id as text; empty for nobody."""
        return "" if self.access.account == NOBODY else format_id("acc", self.access.account)

    @property
    def source(self) -> str:
        """The address it came from, or empty."""
        return source_text(self.access)

    @property
    def actor(self) -> str:
        """Who of the staff acted: a pseudonym; empty for acts of others."""
        return actor_text(self.access)

    @property
    def action(self) -> str:
        """What staff asked for, by the name of the message; empty for acts of others."""
        return name_of(self.compartment, self.access.number) if self.actor else ""

    @property
    def time(self) -> str:
        """RFC 3339, UTC, milliseconds."""
        return datetime.fromtimestamp(self.access.at / 1000, UTC).isoformat(timespec="milliseconds")


def to_json(entry: Entry) -> str:
    """Our own fields, one object a line."""
    access = entry.access
    return _json(
        {
            "time": access.at, "tenant": entry.tenant, "compartment": entry.compartment, "act": entry.act,
            "outcome": entry.outcome, "gate": entry.gate, "number": access.number, "account": entry.account,
            "address": entry.address, "source": entry.source, "actor": entry.actor, "officer": entry.officer,
            "action": entry.action,
        }
    )  # fmt: skip


_OCSF = MappingProxyType(
    {
        Act.LOGIN: (3002, 3, 1), Act.SESSION_BEGUN: (3002, 3, 99), Act.SESSION_ENDED: (3002, 3, 2),
        Act.KEYS_OPENED: (6005, 6, 1), Act.DELIVERED: (4009, 4, 2), Act.APPENDED: (4009, 4, 2),
        Act.QUEUED: (4009, 4, 1), Act.STAFF: (6003, 6, 99),
    }
)  # fmt: skip
"""Act to class, category and activity."""


def to_ocsf(entry: Entry) -> str:
    """One OCSF event a line."""
    access = entry.access
    class_uid, category, activity = _OCSF.get(Act(access.act), (0, 0, 0)) if access.act in _ACTS else (0, 0, 0)
    done = access.outcome in _DONE
    event: dict[str, Any] = {
        "metadata": {
            "version": "1.3.0", "product": {"name": PRODUCT, "vendor_name": VENDOR}, "tenant_uid": entry.tenant,
        },
        "time": access.at, "class_uid": class_uid, "category_uid": category, "activity_id": activity,
        "type_uid": class_uid * 100 + activity, "severity_id": 1 if done else 2, "status_id": 1 if done else 2,
        "status_detail": entry.outcome, "activity_name": entry.act, "actor": {"process": {"name": entry.compartment}},
        "unmapped": {"gate": entry.gate, "number": access.number},
    }  # fmt: skip
    if entry.account:
        event["user"] = {"uid": entry.account} | ({"email_addr": entry.address} if entry.address else {})
    if entry.source:
        event["src_endpoint"] = {"ip": entry.source}
    if entry.actor:
        event["actor"]["user"] = {"uid": entry.actor} | ({"name": entry.officer} if entry.officer else {})
        event["api"] = {"operation": entry.action, "service": {"name": entry.compartment}}
        event["src_endpoint"] = {"svc_name": entry.gate}
    return _json(event)


def to_ecs(entry: Entry) -> str:
    """One ECS event a line."""
    access = entry.access
    done = access.outcome in _DONE
    mail = access.act in {Act.DELIVERED, Act.APPENDED, Act.QUEUED}
    event: dict[str, Any] = {
        "@timestamp": entry.time, "ecs": {"version": "8.11.0"},
        "event": {
            "kind": "event", "module": "bulkhead", "dataset": f"bulkhead.{entry.compartment}", "action": entry.act,
            "category": ["email"] if mail else ["api"] if entry.actor else ["authentication"], "type": ["info"],
            "outcome": "success" if done else "failure", "reason": entry.outcome,
        },
        "organization": {"id": entry.tenant}, "service": {"name": entry.compartment},
        "bulkhead": {"gate": entry.gate, "number": access.number},
    }  # fmt: skip
    if entry.account:
        event["user"] = {"id": entry.account} | ({"email": entry.address} if entry.address else {})
    if entry.source:
        event["source"] = {"ip": entry.source}
    if entry.actor:
        target = {"target": event["user"]} if "user" in event else {}
        event["user"] = {"id": entry.actor} | ({"name": entry.officer} if entry.officer else {}) | target
        event["bulkhead"]["action"] = entry.action
    return _json(event)


def to_cef(entry: Entry) -> str:
    """One CEF line. Header fields escape | and backslash, extensions = and backslash; line ends become \\n."""
    access = entry.access
    severity = 1 if access.outcome in _DONE else 4
    head = "|".join(
        ("CEF:0", VENDOR, PRODUCT, "1", _cef_head(entry.act), _cef_head(f"{entry.act} {entry.outcome}"), str(severity))
    )
    fields = {
        "rt": str(access.at), "dvchost": entry.tenant, "deviceProcessName": entry.compartment, "outcome": entry.outcome,
        "suid": entry.account, "suser": entry.address, "src": entry.source if ":" not in entry.source else "",
        "c6a2": entry.source if ":" in entry.source else "", "cn1": str(access.number), "cn1Label": "number",
        "cs1": entry.gate, "cs1Label": "gate",
    }  # fmt: skip
    if entry.actor:
        fields |= {
            "suid": entry.actor, "suser": entry.officer, "duid": entry.account, "duser": entry.address,
            "act": entry.action,
        }  # fmt: skip
    if fields["c6a2"]:
        fields["c6a2Label"] = "Source IPv6 Address"
    extension = " ".join(f"{name}={_cef_value(value)}" for name, value in fields.items() if value)
    return f"{head}|{extension}"


def to_syslog(entry: Entry) -> str:
    """One message of RFC 5424, its fields as structured data; the message part says the same in words."""
    access = entry.access
    severity = INFORMATIONAL if access.outcome in _DONE else NOTICE
    fields = {
        "outcome": entry.outcome, "gate": entry.gate, "number": str(access.number), "account": entry.account,
        "address": entry.address, "source": entry.source, "actor": entry.actor, "officer": entry.officer,
        "action": entry.action,
    }  # fmt: skip
    data = "".join(f' {name}="{_sd_value(value)}"' for name, value in fields.items() if value)
    host = "".join(c for c in entry.tenant if 33 <= ord(c) <= 126)[:255] or "-"
    moment = entry.time.replace("+00:00", "Z")
    head = f"<{FACILITY_AUTHPRIV * 8 + severity}>1 {moment} {host} {entry.compartment} - {entry.act}"
    return f"{head} [bulkhead@{ENTERPRISE}{data}] {entry.act} {entry.outcome}"


FORMATS: Mapping[str, Callable[[Entry], str]] = MappingProxyType(
    {"json": to_json, "ocsf": to_ocsf, "ecs": to_ecs, "cef": to_cef, "syslog": to_syslog}
)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _cef_head(text: str) -> str:
    return _one_line(text).replace("\\", "\\\\").replace("|", "\\|")


def _cef_value(text: str) -> str:
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\r", "\\r").replace("\n", "\\n")


def _sd_value(text: str) -> str:
    """RFC 5424 section 6.3.3: quotation mark, backslash and closing bracket are escaped."""
    return "".join(f"\\{c}" if c in '"\\]' else c for c in _one_line(text))


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
