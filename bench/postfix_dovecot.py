"""Postfix in front of Dovecot with mdbox, from Debian's packages, in a directory of its own and on loopback only.

Both as shipped but for what a private instance needs, limits on one source, and Dovecot's manual's high-performance
login. Postfix relays nothing. Durability as shipped: Postfix syncs its queue file, Dovecot has mail_fsync = optimized,
which syncs each delivered message.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.server import DOMAIN, PASSWORD, USERS, folder
from nacl.pwhash import argon2id

PACKAGES = "postfix dovecot-imapd dovecot-lmtpd dovecot-pop3d"
OWNER = 5000  # uid and gid of the mailboxes
START_SECONDS = 10.0
STOP_SECONDS = 15.0

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/log/postfix
maillog_file_prefixes = {root}
myhostname = mx.{domain}
myorigin = {domain}
mydestination =
mynetworks =
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = hash:{root}/postfix/mailboxes
virtual_transport = lmtp:unix:private/dovecot-lmtp
default_transport = error:nothing leaves this machine
relay_transport = error:nothing leaves this machine
smtpd_relay_restrictions = reject_unauth_destination
smtpd_client_connection_count_limit = 0
message_size_limit = 52428800
virtual_mailbox_limit = 0
mailbox_size_limit = 0
"""
# service, type, private, unprivileged, chroot, wakeup, process limit, command
MASTER_CF = """\
{smtp} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
DOVECOT_CONF = """\
base_dir = {root}/run
state_dir = {root}/state
protocols = {protocols}
listen = {address}
log_path = {root}/log/dovecot
mail_location = mdbox:~/mdbox
mail_uid = {owner}
mail_gid = {owner}
first_valid_uid = {owner}
mail_fsync = optimized
mail_max_userip_connections = 1000
ssl = required
ssl_cert = <{root}/tls.crt
ssl_key = <{root}/tls.key
auth_mechanisms = plain
{passdb}
userdb {{
  driver = passwd-file
  args = username_format=%u {root}/users
}}
namespace inbox {{
  inbox = yes
}}
default_client_limit = 4000
default_process_limit = 1000
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
  service_count = 0
  process_min_avail = 2
}}
service lmtp {{
  process_min_avail = 2
{lmtp}
  unix_listener {root}/queue/private/dovecot-lmtp {{
    mode = 0600
    user = postfix
    group = postfix
  }}
}}
"""

PLAIN_PASSDB = """\
passdb {{
  driver = static
  args = password={{PLAIN}}{password}
}}"""
# For measurements of IMAP and POP3: hashed passwords with Dovecot's cache of checked ones, LMTP over TCP to fill
# mailboxes, as many sessions as are asked for, idle ones in imap-hibernate as Dovecot's manual advises.
HASHED_PASSDB = """\
passdb {{
  driver = passwd-file
  args = username_format=%u {root}/passwords
}}
auth_cache_size = 16 M
auth_cache_ttl = 1 hour
auth_cache_verify_password_with_worker = no
imap_hibernate_timeout = 5 s
service imap {{
  process_limit = 6000
  unix_listener imap-master {{
    user = $default_internal_user
  }}
  extra_groups = $default_internal_group
}}
service imap-hibernate {{
  client_limit = 8000
  unix_listener imap-hibernate {{
    mode = 0660
    group = $default_internal_group
  }}
}}
service imap-login {{
  client_limit = 8000
}}
service pop3-login {{
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
  service_count = 0
}}
service anvil {{
  client_limit = 12000
}}
service auth {{
  client_limit = 20000
}}"""
LMTP_TCP = """\
  inet_listener lmtp {{
    address = {address}
    port = {lmtp_port}
  }}"""


def missing() -> str:
    """What stands in the way of running it; "" for nothing."""
    if os.geteuid():
        return "Postfix starts only as root: run this benchmark as root"
    programs = ("postfix", "postmap", "dovecot", "doveconf", "openssl")
    paths = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    absent = [name for name in programs if shutil.which(name, path=paths) is None]
    parts = [Path("/usr/lib/dovecot") / name for name in ("lmtp", "imap", "pop3")]
    if absent or not all(path.exists() for path in parts):
        return f"Postfix and Dovecot are not whole here; run: apt-get install {PACKAGES} openssl"
    return ""


class PostfixDovecot:
    """A running pair."""

    name = "Postfix + Dovecot mdbox"
    smtp, imaps, pop3s, lmtp = 2525, 4993, 4995, 2424

    def __init__(self, directory: Path, address: str, schemes: Mapping[str, str] | None = None) -> None:
        """directory: exists and is empty; others may pass through it.

        schemes: user to the scheme of its password, for mailboxes that are read (with POP3 and LMTP over TCP);
        without it every password is clear and nothing of that is started.
        """
        self.address, self._root, self._schemes = address, directory, schemes
        self._write()
        try:
            # Postfix first: it makes the queue's folders, in which Dovecot puts its LMTP socket.
            self._run("postfix", "-c", f"{directory}/postfix", "start")
            self._run("dovecot", "-c", f"{directory}/dovecot.conf")
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    def roots(self) -> list[int]:
        """Both masters."""
        pids = [self._pid("queue/pid/master.pid"), self._pid("run/master.pid")]
        return [pid for pid in pids if pid]

    def names(self) -> dict[int, str]:
        """The kernel's names say enough."""
        return {}

    def about(self) -> dict[str, str]:
        """Versions."""
        postfix, dovecot = self._run("postconf", "-dh", "mail_version"), self._run("dovecot", "--version")
        return {
            "version": f"Postfix {postfix}, Dovecot {dovecot}",
            "mail store": "mdbox, clear; Postfix queue synced, mail_fsync = optimized",
        }

    def stop(self) -> None:
        """End both masters, which end their children."""
        pids = self.roots()
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < end:
            time.sleep(0.05)

    def _write(self) -> None:
        root = self._root
        for name in ("postfix", "queue", "log", "run", "state", "mail", "data"):
            folder(root, name)
        shutil.chown(root / "data", "postfix", "postfix")
        os.chown(root / "mail", OWNER, OWNER)
        values = {
            "root": root, "address": self.address, "domain": DOMAIN, "smtp": f"{self.address}:{self.smtp}",
            "imaps": self.imaps, "owner": OWNER, "password": PASSWORD, "pop3s": self.pop3s, "lmtp_port": self.lmtp,
        }  # fmt: skip
        reads = self._schemes is not None
        values["protocols"] = "imap lmtp pop3" if reads else "imap lmtp"
        values["passdb"] = (HASHED_PASSDB if reads else PLAIN_PASSDB).format(**values)
        values["lmtp"] = LMTP_TCP.format(**values) if reads else ""
        if self._schemes is not None:
            hashes = {scheme: self._hash(scheme) for scheme in set(self._schemes.values())}
            lines = (f"{user}@{DOMAIN}:{hashes[scheme]}\n" for user, scheme in self._schemes.items())
            (root / "passwords").write_text("".join(lines))
            shutil.chown(root / "passwords", "dovecot", "dovecot")
            (root / "passwords").chmod(0o400)
        (root / "postfix/main.cf").write_text(MAIN_CF.format(**values))
        (root / "postfix/master.cf").write_text(MASTER_CF.format(**values))
        (root / "dovecot.conf").write_text(DOVECOT_CONF.format(**values))
        (root / "postfix/mailboxes").write_text("".join(f"{user}@{DOMAIN} {user}/\n" for user in USERS))
        (root / "users").write_text(
            "".join(f"{user}@{DOMAIN}::{OWNER}:{OWNER}::{root}/mail/{user}::\n" for user in USERS)
        )
        self._run("postmap", "-c", f"{root}/postfix", f"hash:{root}/postfix/mailboxes")
        self._run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2", "-subj", f"/CN=imap.{DOMAIN}", "-keyout", f"{root}/tls.key", "-out", f"{root}/tls.crt",
        )  # fmt: skip

    def _hash(self, scheme: str) -> str:
        if scheme == "ARGON2ID":  # with the parameters that Bulkhead uses, so that both do the same work
            return "{ARGON2ID}" + argon2id.str(PASSWORD.encode(), opslimit=2, memlimit=19 << 20).decode().rstrip("\0")
        return self._run("doveadm", "pw", "-s", scheme, "-p", PASSWORD)

    def _wait_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while len(self.roots()) < 2 or not (self._root / "queue/private/dovecot-lmtp").exists():
            if time.monotonic() > end:
                raise OSError(f"Postfix or Dovecot did not come up; see {self._root}/log")
            time.sleep(0.1)
        time.sleep(1.0)  # listeners open right after

    def _pid(self, file: str) -> int:
        try:
            pid = int((self._root / file).read_text())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return 0
        return pid

    def _run(self, *command: str) -> str:
        environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
        with tempfile.TemporaryFile("w+") as said:  # no pipe: a daemon would hold it open
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=60, check=False, env=environment
            )
            said.seek(0)
            text = said.read().strip()
        if done.returncode:
            raise OSError(f"{' '.join(command)}: {text}")
        return text
