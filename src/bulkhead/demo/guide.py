"""What a visitor of the demonstration can do now: one login, exact commands, mail client settings."""

import os
import shlex
from pathlib import Path

from bulkhead.cli.certificates import CA_CERTIFICATE, FOLDER
from bulkhead.demo.endpoints import Endpoint
from bulkhead.demo.people import ACCOUNTS_FILE, Subscriber

_GUIDE = """
A subscriber: {address}   password: {password}        (all of them: {accounts})

By hand, in another terminal:
  openssl s_client -quiet -crlf -connect {ip}:{imaps} -verify_return_error -verify_hostname {imap} -CAfile {ca}
    then type:  a login {address} {password}
                b select inbox
                c fetch 1:* (envelope)

Thunderbird (Account Settings, "Configure manually"):
  incoming  IMAP   server {ip}   port {imaps}   SSL/TLS       normal password
  outgoing  SMTP   server {ip}   port {submissions}   SSL/TLS       normal password
  user name {address}
  trust the CA once: Settings > Privacy & Security > Manage Certificates > Authorities > Import: {ca}
  or use the servers' own names instead of {ip}, with this line in /etc/hosts:
    {ip} {imap} {smtp}

Try next:
  {command} demo breach stnet/access -C {directory}           break into one ISP's IMAP server, and see what it reaches
  {command} status -C {directory}                             every process, its user, its level
  {command} doctor -C {directory}                             what will go wrong, what was not proven, and what to do
  {command} exposure --all -C {directory}                     who would be touched by what
  {command} inventory --touched cryptography -C {directory}   whom a flaw in one package would touch
  {command} stop stnet --logins --sessions -C {directory}     one ISP stops its own cell; --lift takes it back

Ctrl-C stops everything."""


def print_guide(directory: Path, endpoint: Endpoint, who: Subscriber) -> None:
    """Print it for one subscriber; paths as they work from the current directory."""
    own = Path(os.environ.get("VIRTUAL_ENV", "")) / "bin/bulkhead"
    venv = Path(".venv/bin/bulkhead")
    command = "bulkhead" if own.exists() or not venv.exists() else str(venv)
    here = Path.cwd()
    shown = directory.relative_to(here) if directory.is_relative_to(here) else directory
    print(
        _GUIDE.format(
            address=who.address, password=who.password, accounts=shlex.quote(str(shown / ACCOUNTS_FILE)),
            ip=endpoint.address, imaps=endpoint.imaps, submissions=endpoint.submissions, imap=endpoint.imap_name,
            smtp=endpoint.smtp_name, ca=shlex.quote(str(shown / FOLDER / CA_CERTIFICATE)), command=command,
            directory=shlex.quote(str(shown)),
        ),
        flush=True,
    )  # fmt: skip
