"""Lines of a cell's log, as text or JSON: what a compartment wrote, shown and not obeyed. PURE; standard library only.

A compartment says its own name, worker and level at the head of a line; the image whose pipe the line came by, the
tenant and the time are the supervisor's. What is shaped like an address is masked, whoever wrote it.
"""

import json
import re
import time

LEVELS = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}  # severity: RFC 5424 section 6.2.1, table 2
UNKNOWN = ("notice", 5)  # a line without a head: an interpreter's, or a library's
MASK = "[address]"
_HEAD = re.compile(r"([a-z][a-z-]{0,31})/([0-9]{1,5}) (DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)", re.DOTALL)
_PART = r"[^\s@'\"<>(),;:=\[\]]"
_ADDRESS = re.compile(rf"{_PART}{{1,128}}@{_PART}{{1,255}}")
_FAULT = " < "


def shown(text: str) -> str:
    """`text` with every character that a terminal or a reader of lines would obey written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def masked(text: str) -> str:
    """`text` without what is shaped like an address."""
    return _ADDRESS.sub(MASK, text) if "@" in text else text


def text_line(image: str, line: bytes, now: float) -> str:
    """For people. now: seconds since 1970, shown as local time."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    return f"{stamp} {image} {masked(shown(line.decode('utf-8', 'replace')))}\n"


def json_line(tenant: str, image: str, line: bytes, now: float) -> str:
    """One object on one line; its keys stand in docs/metrics.md. time: RFC 3339 in UTC, to the millisecond."""
    text = masked(shown(line.decode("utf-8", "replace")))
    head = _HEAD.fullmatch(text)
    if head is None:
        return _object(tenant, image, None, None, *UNKNOWN, text, now)
    compartment, worker, level, message = head.groups()
    return _object(tenant, image, compartment, int(worker), level.lower(), LEVELS[level], message, now)


def _object(
    tenant: str, image: str, compartment: str | None, worker: int | None, level: str, severity: int, text: str,
    now: float,
) -> str:  # fmt: skip
    message, *fault = text.split(_FAULT)
    whole, fraction = divmod(int(now * 1000), 1000)
    document = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{fraction:03}Z", "tenant": tenant,
        "image": image, "compartment": compartment, "worker": worker, "level": level, "severity": severity,
        "message": message, "fields": {"fault": fault} if fault else {},
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
