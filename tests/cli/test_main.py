"""Every error is a line and a status."""

import pytest

from bulkhead.cli import main as module
from bulkhead.cli.exit_codes import ExitCode, exit_code_of
from bulkhead.cli.main import main
from bulkhead.errors import BoundaryViolation, ConfigError, Error, IntegrityError, PeerError, Refused, TemporaryFailure


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), ExitCode.USAGE),
        (PeerError("x"), ExitCode.USAGE),
        (TemporaryFailure("x"), ExitCode.NOT_RUNNING),
        (Refused("x"), ExitCode.REFUSED),
        (IntegrityError("x"), ExitCode.INTEGRITY),
        (BoundaryViolation("x"), ExitCode.FINDING),
        (ValueError("secret"), ExitCode.FINDING),
        (PermissionError(13, "Permission denied", "/f"), ExitCode.USAGE),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
)
def test_an_error_ends_in_a_line_and_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: ExitCode
) -> None:
    class Failing:
        @staticmethod
        def check(_: object) -> int:
            raise error

    monkeypatch.setattr(module.importlib, "import_module", lambda _: Failing)
    monkeypatch.delenv(module.TRACE_VARIABLE, raising=False)
    assert main(["config", "check"]) == code
    told = capsys.readouterr().err
    assert "Traceback" not in told and "secret" not in told
    assert len(told.splitlines()) == (0 if isinstance(error, KeyboardInterrupt) else 1)
    if isinstance(error, Error):
        assert exit_code_of(error) == code
