"""seccomp: a list of allowed system calls with checks of their arguments, as a classic BPF program.

Source: linux/seccomp.h, linux/filter.h, linux/audit.h. A filter sees numbers and argument words, never what a pointer
points to. What is not allowed answers EPERM; calls in `UNKNOWN` answer ENOSYS, so that glibc and libuv take their
older road. A call made for another machine kills the process, x32 included.
"""

import ctypes
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from bulkhead.supervisor.syscalls import machine, number, syscall

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
_SET_MODE_FILTER = 1

_RETURN_ALLOW = 0x7FFF0000
_RETURN_ERRNO = 0x00050000
_RETURN_KILL_PROCESS = 0x80000000
EPERM, ENOSYS = 1, 38

_LOAD, _AND, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data
_ALL_BITS = 0xFFFFFFFF
_INSTRUCTIONS_MAX = 4096  # BPF_MAXINSNS


@dataclass(frozen=True, slots=True)
class Check:
    """Argument `argument` (from 0), its low 32 bits (or `high` ones) masked, is one of `values`.

    The low half is enough where the kernel itself takes an int or looks only at low bits; pointers need both halves.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = _ALL_BITS
    high: bool = False


Alternative = tuple[Check, ...]  # all checks must hold
Rule = tuple[Alternative, ...]  # one alternative must hold

ALWAYS: Rule = ((),)


def one_of(argument: int, *values: int) -> Rule:
    """The argument is one of `values`."""
    return ((Check(argument, values),),)


def without_bits(argument: int, bits: int) -> Check:
    """None of `bits` is set in the argument."""
    return Check(argument, (0,), bits)


def null(argument: int) -> Alternative:
    """The argument is a null pointer."""
    return (Check(argument, (0,)), Check(argument, (0,), high=True))


def _instruction(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, k & _ALL_BITS)


def _check_code(check: Check, to_next: int) -> bytes:
    """Falls through when the check holds, else jumps over `to_next` further instructions."""
    low_at = _ARGUMENTS_AT + 8 * check.argument  # both machines are little-endian
    code = _instruction(_LOAD, low_at + (4 if check.high else 0))
    if check.mask != _ALL_BITS:
        code += _instruction(_AND, check.mask)
    last = len(check.values) - 1
    for index, value in enumerate(check.values):
        code += _instruction(_JUMP_EQUAL, value, last - index, to_next if index == last else 0)
    return code


def _rule_code(rule: Rule, otherwise: int) -> bytes:
    code = b""
    for alternative in rule:
        body = _instruction(_RETURN, _RETURN_ALLOW)
        for check in reversed(alternative):
            body = _check_code(check, len(body) // 8) + body
        code += body
    return code if rule == ALWAYS else code + _instruction(_RETURN, _RETURN_ERRNO | otherwise)


OWN_PID = 0x7A5C3E91  # above every pid (2**22): stands for the process's own until it is known


def compile_filter(rules: Mapping[str, Rule], unknown: frozenset[str], on: str | None = None) -> bytes:
    """The BPF program for machine `on`: allow by `rules` in their order, ENOSYS for `unknown`, EPERM for the rest.

    Calls that the machine does not have are left out. Raises ValueError when a rule or the whole does not fit.
    """
    on = on or machine()
    code = _instruction(_LOAD, _ARCH_AT)
    code += _instruction(_JUMP_EQUAL, _AUDIT_ARCH[on], 1, 0)
    code += _instruction(_RETURN, _RETURN_KILL_PROCESS)
    code += _instruction(_LOAD, _NUMBER_AT)
    if on == "x86_64":
        code += _instruction(_JUMP_AT_LEAST, _X32_BIT, 0, 1) + _instruction(_RETURN, _RETURN_KILL_PROCESS)
    for name, rule in rules.items():
        nr = number(name, on)
        if nr is None:
            continue
        body = _rule_code(rule, EPERM)
        if len(body) // 8 > 255:
            raise ValueError(f"the rule for {name} is too long")
        code += _instruction(_JUMP_EQUAL, nr, 0, len(body) // 8) + body
    for name in sorted(unknown):
        nr = number(name, on)
        if nr is not None:
            code += _instruction(_JUMP_EQUAL, nr, 0, 1) + _instruction(_RETURN, _RETURN_ERRNO | ENOSYS)
    code += _instruction(_RETURN, _RETURN_ERRNO | EPERM)
    if len(code) // 8 > _INSTRUCTIONS_MAX:
        raise ValueError("the filter is too long")
    return code


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def with_pid(program: bytes, pid: int) -> bytes:
    """A program compiled for OWN_PID, for the process that `pid` is: compiled before the fork, its memory is shared."""
    return program.replace(struct.pack("=I", OWN_PID), struct.pack("=I", pid))


def apply(program: bytes) -> None:
    """Bind the calling thread for good; the caller has set NO_NEW_PRIVS.

    Raises OSError, with ENOSYS or EINVAL where the kernel has no seccomp filters.
    """
    instructions = ctypes.create_string_buffer(program, len(program))
    syscall("seccomp", _SET_MODE_FILTER, 0, _Program(len(program) // 8, ctypes.addressof(instructions)))
