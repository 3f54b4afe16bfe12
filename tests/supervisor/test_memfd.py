import fcntl
import os

import pytest

from bulkhead.errors import BoundaryViolation
from bulkhead.supervisor.memfd import SEALS, read_sealed_memfd, sealed_memfd


def test_what_was_sealed_is_read_back_and_cannot_be_changed():
    descriptor = sealed_memfd(b"x" * 100_000)
    assert read_sealed_memfd(descriptor, 100_000) == b"x" * 100_000
    for change in (lambda: os.pwrite(descriptor, b"y", 0), lambda: os.ftruncate(descriptor, 1)):
        with pytest.raises(PermissionError):
            change()
    os.close(descriptor)


def test_one_octet_past_the_limit_is_refused():
    descriptor = sealed_memfd(b"12345")
    assert read_sealed_memfd(descriptor, 5) == b"12345"
    with pytest.raises(BoundaryViolation):
        read_sealed_memfd(descriptor, 4)
    os.close(descriptor)


@pytest.mark.parametrize("missing", [fcntl.F_SEAL_SEAL, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW, fcntl.F_SEAL_WRITE])
def test_a_memory_file_without_one_of_its_seals_is_refused(missing):
    descriptor = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.write(descriptor, b"x")
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS & ~missing)
    with pytest.raises(BoundaryViolation):
        read_sealed_memfd(descriptor, 10)
    os.close(descriptor)


def test_a_file_on_disk_and_a_pipe_are_no_sealed_memory_files(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    read_end, write_end = os.pipe()
    for other in (descriptor, read_end):
        with pytest.raises(BoundaryViolation):
            read_sealed_memfd(other, 10)
    for opened in (descriptor, read_end, write_end):
        os.close(opened)
