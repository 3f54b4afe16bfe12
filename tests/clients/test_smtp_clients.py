"""Programs that others wrote send mail through mx and submit, as they come."""

import asyncio
import smtplib
import subprocess
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from tests.gate.cell import DOMAIN, HOSTNAMES, PASSWORD, Cell, authority, client_context, run_with

USER, FRIEND = f"user@{DOMAIN}", f"friend@{DOMAIN}"
REMOTE = "someone@elsewhere.example"
TEXT = "a line\n.a dot\n\u3053\u3093\u306b\u3061\u306f\n"
Work = Callable[[Cell], Any]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Cell]:
    """Runs a blocking client beside a gate; the cell afterwards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ca.pem").write_text(authority().pem)

    def run(client: Work, compartment: str = "submit") -> Cell:
        cells: list[Cell] = []

        async def test(cell: Cell) -> None:
            cell.add("user"), cell.add("friend")
            cells.append(cell)
            await asyncio.to_thread(client, cell)

        run_with(test, compartment, ["mx"] if compartment == "mx" else ["submissions", "submission"])
        return cells[0]

    return run


def command(*words: str, text: bytes = b"", status: int = 0) -> str:
    done = subprocess.run(words, input=text, capture_output=True, timeout=30, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == status, said
    return said


def letter() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = USER, FRIEND, "\u4ef6\u540d"
    message.set_content(TEXT, cte="8bit")
    return message


@pytest.mark.parametrize("listener", ["submissions", "submission"])
def test_smtplib_submits_to_a_friend_and_elsewhere(serve: Callable[..., Cell], listener: str) -> None:
    def send(cell: Cell) -> None:
        if listener == "submissions":
            with_tls = smtplib.SMTP_SSL("127.0.0.1", cell.ports[listener], context=_by_address(), timeout=10)
        else:
            with_tls = smtplib.SMTP("127.0.0.1", cell.ports[listener], timeout=10)
            with_tls.starttls(context=_by_address())
        with with_tls as client:
            client.login(USER, PASSWORD)
            assert client.send_message(letter(), to_addrs=[FRIEND, REMOTE]) == {}

    cell = serve(send)
    ((address, message),) = cell.messages()
    assert address == FRIEND and "こんにちは\r\n".encode() in message and b"\r\n.a dot\r\n" in message
    assert [list(request.recipients) for request, _ in cell.outbound()] == [[REMOTE]]


def test_smtplib_is_told_which_recipients_mx_refuses(serve: Callable[..., Cell]) -> None:
    def send(cell: Cell) -> None:
        with smtplib.SMTP("127.0.0.1", cell.ports["mx"], timeout=10) as client:
            client.starttls(context=_by_address())
            refused = client.sendmail(REMOTE, [FRIEND, f"no@{DOMAIN}", REMOTE], b"Subject: x\r\n\r\nhello\r\n")
            assert {name: code for name, (code, _) in refused.items()} == {f"no@{DOMAIN}": 550, REMOTE: 550}

    assert [address for address, _ in serve(send, "mx").messages()] == [FRIEND]


def _by_address() -> Any:
    return client_context()  # the certificate has the address too


@pytest.mark.peer
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_curl_submits(serve: Callable[..., Cell], needs_debian: Callable[[str], str], mechanism: str) -> None:
    curl = needs_debian("curl")

    def send(cell: Cell) -> None:
        command(
            curl, "-sS", "--cacert", "ca.pem", f"smtps://127.0.0.1:{cell.ports['submissions']}", "--user",
            f"{USER}:{PASSWORD}", "--login-options", f"AUTH={mechanism}", "--mail-from", USER, "--mail-rcpt", FRIEND,
            "-T", "-", text=b"Subject: curl\r\n\r\n.hello\r\n",
        )  # fmt: skip

    ((_, message),) = serve(send).messages()
    assert message.endswith(b"Subject: curl\r\n\r\n.hello\r\n")


@pytest.mark.peer
def test_swaks_delivers_to_mx_and_pipelines(serve: Callable[..., Cell], needs_debian: Callable[[str], str]) -> None:
    swaks = needs_debian("swaks")

    def send(cell: Cell) -> None:
        port = str(cell.ports["mx"])
        common = [swaks, "--server", "127.0.0.1", "--port", port, "--helo", "c.example", "--from", REMOTE]
        command(*common, "--to", f"{USER},{FRIEND}", "--pipeline")
        command(*common, "--to", f"no@{DOMAIN}", status=24)

    assert [address for address, _ in serve(send, "mx").messages()] == [USER, FRIEND]


@pytest.mark.peer
def test_openssl_sees_the_certificate_of_this_gate_alone(
    serve: Callable[..., Cell], needs_debian: Callable[[str], str]
) -> None:
    openssl = needs_debian("openssl")

    def look(cell: Cell) -> None:
        for listener, starttls in (("submissions", []), ("submission", ["-starttls", "smtp"])):
            said = command(
                openssl, "s_client", "-connect", f"127.0.0.1:{cell.ports[listener]}", "-CAfile", "ca.pem",
                "-verify_hostname", HOSTNAMES["submit"], "-verify_return_error", *starttls, text=b"QUIT\r\n",
            )  # fmt: skip
            assert "Verify return code: 0 (ok)" in said and HOSTNAMES["mx"] not in said

    serve(look)
