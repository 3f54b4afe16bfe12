"""The filter of both machines, run by a small interpreter of classic BPF: this host executes only one of them."""

import errno
import struct

import pytest

from bulkhead.supervisor import seccomp
from bulkhead.supervisor.allowed_calls import UNKNOWN, allowed_calls
from bulkhead.supervisor.syscalls import MACHINES, SYSCALLS, number

ALLOW, KILL = 0x7FFF0000, 0x80000000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PID = 4321


def run(program: bytes, nr: int, arch: int, arguments: tuple[int, ...]) -> int:
    words = [value & (1 << 64) - 1 for value in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    data = struct.pack("=iIQ6Q", nr, arch, 0, *words)
    code = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        kind, if_true, if_false, k = code[at]
        at += 1
        if kind == 0x20:
            accumulator = struct.unpack_from("=I", data, k)[0]
        elif kind == 0x54:
            accumulator &= k
        elif kind == 0x15:
            at += if_true if accumulator == k else if_false
        elif kind == 0x35:
            at += if_true if accumulator >= k else if_false
        else:
            assert kind == 0x06
            return k


def answer(machine: str, name: str, *arguments: int, **duties: bool) -> int:
    all_duties = {"files": False, "writable": False, "dial": False, "accept": False, "send_descriptors": False} | duties
    program = seccomp.compile_filter(allowed_calls(PID, **all_duties), UNKNOWN, machine)
    result = run(program, number(name, machine), ARCH[machine], arguments)
    return 0 if result == ALLOW else result & 0xFFFF


REFUSED = [
    ("mmap", (0, 4096, 7, 0x22)),
    ("mmap", (0, 4096, 3, 0x21)),
    ("mprotect", (0, 4096, 5)),
    ("clone", (17,)),
    ("clone", (0x3D0F00 | 0x10000000,)),
    ("sendto", (3, 0, 1, 0, 0x1000, 16)),
    ("sendto", (3, 0, 1, 0, 1 << 40, 16)),
    ("sendto", (3, 0, 1, 0x20000000, 0, 0)),
    ("kill", (PID + 1, 9)),
    ("kill", (-1, 9)),
    ("tgkill", (PID + 1, PID + 1, 0)),
    ("prlimit64", (0, 7, 0x1000, 0)),
    ("prlimit64", (PID + 1, 7, 0, 0)),
    ("prctl", (4, 1)),
    ("ioctl", (0, 0x5412, 0)),
    ("fcntl", (0, 8, 1)),
    ("socketpair", (1, 2, 0, 0)),
    ("socketpair", (2, 1, 0, 0)),
    ("setsockopt", (3, 1, 33, 0, 4)),
    ("setsockopt", (3, 1, 26, 0, 4)),
    ("sendmsg", (3, 0, 0)),
    ("socket", (2, 1, 0)),
    ("connect", (3, 0, 16)),
    ("openat", (-100, 0, 0)),
    ("newfstatat", (-100, 0, 0, 0)),
    ("accept4", (3, 0, 0, 0)),
    ("execve", (0, 0, 0)),
    ("ptrace", (0, 0, 0)),
    ("memfd_create", (0, 0)),
    ("unshare", (0x10000000,)),
]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_what_no_compartment_without_duties_needs_is_refused(machine, name, arguments):
    assert answer(machine, name, *arguments) == errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "duties"),
    [
        ("mmap", (0, 4096, 3, 0x22), {}),
        ("mmap", (0, 4096, 3, 0x01), {"files": True}),
        ("mprotect", (0, 4096, 3), {}),
        ("clone", (0x3D0F00,), {}),
        ("sendto", (3, 0, 1, 0x4000, 0, 0), {}),
        ("kill", (PID, 6), {}),
        ("prlimit64", (0, 7, 0, 0x1000), {}),
        ("fcntl", (3, 6, 0x1000), {}),
        ("socketpair", (1, 0x80801, 0, 0), {}),
        ("newfstatat", (3, 0, 0, 0x1000), {}),
        ("setsockopt", (3, 6, 1, 0, 4), {}),
        ("accept4", (3, 0, 0, 0), {"accept": True}),
        ("openat", (-100, 0, 0o2000000), {"files": True}),
        ("openat", (-100, 0, 0o2000102), {"files": True, "writable": True}),
        ("socket", (10, 0x80801, 6), {"dial": True}),
        ("socket", (2, 2, 0), {"dial": True}),
        ("sendmsg", (3, 0, 0), {"send_descriptors": True}),
    ],
)
def test_what_a_duty_needs_is_allowed(machine, name, arguments, duties):
    assert answer(machine, name, *arguments, **duties) == 0


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "arguments", [(1, 1, 0), (2, 1, 262), (2, 1, 132), (2, 3, 1), (16, 3, 0), (40, 1, 0), (17, 3, 0)]
)
def test_the_dialer_gets_plain_tcp_and_udp_sockets_only(machine, arguments):
    assert answer(machine, "socket", *arguments, dial=True) == errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("flags", [0o1, 0o2, 0o100, 0o1000, 0o20200000])
def test_a_reader_of_files_opens_nothing_for_writing(machine, flags):
    assert answer(machine, "openat", -100, 0, flags, files=True) == errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_a_writer_makes_no_set_uid_file(machine):
    duties = {"files": True, "writable": True}
    assert answer(machine, "openat", -100, 0, 0o102, 0o4755, **duties) == errno.EPERM
    assert answer(machine, "fchmod", 3, 0o2755, **duties) == errno.EPERM
    assert answer(machine, "fchmod", 3, 0o600, **duties) == 0


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_whose_flags_a_filter_cannot_see_look_like_an_older_kernel(machine):
    assert {answer(machine, name) for name in UNKNOWN} == {errno.ENOSYS}


@pytest.mark.parametrize("machine", MACHINES)
def test_a_call_of_another_machine_ends_the_process(machine):
    program = seccomp.compile_filter(allowed_calls(PID, files=True, writable=True, dial=True, accept=True,
                                                   send_descriptors=True), UNKNOWN, machine)  # fmt: skip
    other = next(arch for name, arch in ARCH.items() if name != machine)
    assert run(program, number("read", machine), other, ()) == KILL
    if machine == "x86_64":
        assert run(program, 0x40000000, ARCH[machine], ()) == KILL


def test_an_unknown_number_is_refused_and_numbers_are_unique():
    program = seccomp.compile_filter(allowed_calls(PID, files=True, writable=True, dial=True, accept=True,
                                                   send_descriptors=True), UNKNOWN, "x86_64")  # fmt: skip
    assert run(program, 9999, ARCH["x86_64"], ()) & 0xFFFF == errno.EPERM
    for index in range(len(MACHINES)):
        numbers = [pair[index] for pair in SYSCALLS.values() if pair[index] is not None]
        assert len(numbers) == len(set(numbers))
