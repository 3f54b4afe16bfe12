"""Reads an strace log (-f -y -xx): one Call per system call, in the order of its effect."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"^(\d+) +(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+|\?)(.*)$", re.DOTALL)
_UNFINISHED = re.compile(r"^(\w+)\((.*) <unfinished \.\.\.>$", re.DOTALL)
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$", re.DOTALL)
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_DESCRIPTOR = re.compile(r"^(\d+)<([^>]*)>")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call. begun: its line's number; path: of its first descriptor; strings: its buffers."""

    name: str
    begun: int
    ended: int
    path: str
    strings: tuple[bytes, ...]
    arguments: str
    result: int


def read_calls(log: Path, root: Path) -> list[Call]:
    """Every finished call; paths relative to `root`, "" where a descriptor is no file below it."""
    pending: dict[str, tuple[str, int]] = {}
    calls = []
    with log.open(encoding="ascii") as lines:
        for number, line in enumerate(lines):
            found = _LINE.match(line.rstrip("\n"))
            if not found:
                continue
            thread, text = found.groups()
            unfinished, resumed = _UNFINISHED.match(text), _RESUMED.match(text)
            begun = number
            if unfinished:
                pending[thread] = (f"{unfinished[1]}({unfinished[2]}", number)
                continue
            if resumed:
                head, begun = pending.pop(thread, ("", number))
                text = head + resumed[2]
            call = _CALL.match(text)
            if call and call[3] != "?":
                calls.append(_call(call, begun, number, root))
    return calls


def _call(match: re.Match[str], begun: int, ended: int, root: Path) -> Call:
    name, arguments, result, tail = match[1], match[2], int(match[3]), match[4]
    strings = tuple(_decode(found) for found in _STRING.finditer(arguments))
    descriptor = _DESCRIPTOR.match(arguments)
    path = _path(descriptor[2], root) if descriptor else ""
    if name == "openat":
        opened = _DESCRIPTOR.match(match[3] + tail)
        path = _path(opened[2], root) if opened else ""
    return Call(name, begun, ended, path, strings, _STRING.sub("_", arguments), result)


def _path(text: str, root: Path) -> str:
    plain = bytes.fromhex(text.replace("\\x", "")).decode() if text.startswith("\\x") else text
    plain = plain.removesuffix(" (deleted)")
    if plain == str(root):
        return "."
    return plain.removeprefix(f"{root}/") if plain.startswith(f"{root}/") else ""


def _decode(match: re.Match[str]) -> bytes:
    if match[2]:
        raise ValueError("the trace cut a string: raise strace's -s")
    return bytes.fromhex(match[1].replace("\\x", ""))


def numbers(call: Call) -> Iterator[int]:
    """The plain integer arguments of a call."""
    for part in call.arguments.split(", "):
        if re.fullmatch(r"-?\d+", part):
            yield int(part)
