"""Deliberate weakenings: what is taken away, how, and the rows of the drill that must then show it.

A wall that another wall hides is struck as on a host that lacks the other one (`missing`), for that is what it is for:
Landlock where user namespaces are refused or seccomp is not there, the network namespace where both are not.
"""

from dataclasses import dataclass

from tests.drill.weakened_copy import Edit

_ALLOWED = "supervisor/allowed_calls.py"
_SANDBOX = "supervisor/sandbox.py"
_LANDLOCK = "supervisor/landlock.py"
_FREE = '"nanosleep", "gettimeofday", "time", "getcwd",\n'
NO_NAMESPACES = ("namespace", "chroot")  # an ordinary user's chroot needs a user namespace


@dataclass(frozen=True, slots=True)
class Weakening:
    """One weakness. caught_by: rows `compartment/probe`, each of which must show it.

    user: shown to an ordinary user.   missing: mechanisms of the lock that the host of this weakening refuses.
    slow: its rows wait for a deadline: for `make test-all` only.
    """

    name: str
    edits: tuple[Edit, ...]
    caught_by: tuple[str, ...]
    user: bool = False
    missing: tuple[str, ...] = ()
    slow: bool = False


def _one(
    name: str,
    file: str,
    text: str,
    instead: str,
    *rows: str,
    user: bool = False,
    missing: tuple[str, ...] = (),
    slow: bool = False,
) -> Weakening:
    return Weakening(name, (Edit(file, text, instead),), rows, user, missing, slow)


def _call_allowed(call: str, *rows: str) -> Weakening:
    """A system call too many in the list of those that everyone may make."""
    return _one(f"{call}-allowed", _ALLOWED, _FREE, _FREE + f'    "{call}",\n', *rows)


def _limit_missing(limit: str, value: str, *rows: str) -> Weakening:
    return _one(f"{limit.lower()}-not-set", _SANDBOX, f"        resource.RLIMIT_{limit}: {value},\n", "", *rows)


_ALWAYS = "ALWAYS"

DESCRIPTORS_AND_FILES = (
    _one(
        "inherited-descriptors-stay-open", _SANDBOX, "        if first < kept:\n", "        if first < 0:\n",
        "mx/read-inherited-descriptor", "store/read-inherited-descriptor", "dialer/find-inherited-descriptor",
    ),
    _one(
        "root-not-changed", _SANDBOX, "        os.chroot(lock.root)\n", "        pass\n",
        "access/stat-other-cell-name", "store/stat-host-name",
    ),
    _one(
        "root-not-changed-by-a-user", _SANDBOX, "        os.chroot(lock.root)\n", "        pass\n",
        "access/stat-other-cell-name", user=True,
    ),
    _one(
        "uid-not-changed", "supervisor/lock.py", "ALL_MECHANISMS = frozenset(Mechanism)",
        "ALL_MECHANISMS = frozenset(Mechanism) - {Mechanism.UID}",
        "auth/keep-starting-uid", "keyring/read-guarded-file-in-own-root",
    ),
    _one(
        "dumpable-left-on", _SANDBOX, "    _prctl(_PR_SET_DUMPABLE, 0)\n", "    _prctl(_PR_SET_DUMPABLE, 1)\n",
        "keyring/stay-dumpable", "mx/stay-dumpable",
    ),
    _one(
        "landlock-widened-to-every-path", _LANDLOCK, 'rule = struct.pack("=Qi", ruleset.below_root, root)',
        'rule = struct.pack("=Qi", ruleset.below_root, os.open("/", os.O_PATH))',
        "store/read-other-cell-file", "store/list-other-cell-directory", user=True, missing=NO_NAMESPACES,
    ),
    _one(
        "landlock-lets-gates-list-and-read-without-asking", _LANDLOCK, "handled = (1 << _FS_BITS[abi]) - 1",
        "handled = ((1 << _FS_BITS[abi]) - 1) & ~READ",
        "mx/read-other-cell-file", user=True, missing=NO_NAMESPACES,
    ),
    _one(
        "landlock-without-tcp-rule", _LANDLOCK, "net = 0 if abi < 4 else", "net = 0 if abi else",
        "mx/connect-tcp", "store/bind-tcp", missing=("seccomp", "namespace"),
    ),
    _one(
        "landlock-without-scopes", _LANDLOCK, "if abi >= 6 else 0", "if abi >= 99 else 0",
        "access/signal-worker", "access/connect-unix-abstract", missing=("seccomp", "namespace"),
    ),
    _one(
        "network-not-left", _SANDBOX, "else _CLONE_NEWIPC | _CLONE_NEWNET", "else _CLONE_NEWIPC",
        "mx/connect-tcp", "access/send-udp", missing=("seccomp", "landlock"),
    ),
)  # fmt: skip

SYSTEM_CALLS = (
    _one(
        "no-new-privileges-not-set", _SANDBOX, "    _prctl(_PR_SET_NO_NEW_PRIVS, 1)\n", "",
        "mx/fork", "keyring/map-executable-memory", "queue/open-netlink",
    ),
    _one(
        "any-socket-pair", _ALLOWED, '"socketpair": _SOCKETPAIR', f'"socketpair": {_ALWAYS}',
        "mx/re-addressable-pair", "auth/re-addressable-pair",
    ),
    _one(
        "memory-made-executable", _ALLOWED, '"mprotect": ((without_bits(2, _PROT_EXEC),),)', f'"mprotect": {_ALWAYS}',
        "mx/make-memory-executable", "store/make-memory-executable",
    ),
    _one(
        "executable-memory-mapped", _ALLOWED, "(without_bits(2, _PROT_EXEC), Check(3, (0,), _MAP_SHARED)),",
        "(Check(3, (0,), _MAP_SHARED),),", "access/map-executable-memory",
    ),
    _one(
        "shared-memory-mapped", _ALLOWED, "(without_bits(2, _PROT_EXEC), Check(3, (0,), _MAP_SHARED)),",
        "(without_bits(2, _PROT_EXEC),),", "access/take-shared-memory",
    ),
    _one("any-prctl", _ALLOWED, '"prctl": one_of(0, *_PRCTL)', f'"prctl": {_ALWAYS}', "keyring/become-dumpable"),
    _one("any-clone", _ALLOWED, '"clone": one_of(0, _CLONE_THREAD_OF_GLIBC)', f'"clone": {_ALWAYS}', "mx/fork"),
    _one(
        "any-fcntl", _ALLOWED, '"fcntl": one_of(1, *_FCNTL)', f'"fcntl": {_ALWAYS}', "submit/signal-sibling-by-owner",
    ),
    _one(
        "any-protocol-dialled", _ALLOWED, "Check(1, (socket.SOCK_STREAM,), 0xF), Check(2, (0, 6))),",
        "Check(1, (socket.SOCK_STREAM,), 0xF)),", "dialer/connect-mptcp",
    ),
    _one(
        "socket-and-bind-for-everyone", _ALLOWED, _FREE, _FREE + '    "socket", "bind",\n',
        "mx/open-netlink", "ledger/open-netlink",
    ),
    _one(
        "set-uid-files-made", _ALLOWED, 'rules["fchmod"] = ((without_bits(1, _SET_ID_BITS),),)',
        'rules["fchmod"] = ALWAYS', "store/make-set-uid-file",
    ),
    _call_allowed("memfd_create", "mx/make-memory-file"),
    _call_allowed("userfaultfd", "auth/handle-page-faults"),
    _call_allowed("add_key", "keyring/add-key"),
    _call_allowed("keyctl", "keyring/join-session-keyring"),
    _call_allowed("sendmsg", "mx/send-descriptor"),
    _one(
        "dialer-sends-descriptors-from-everyone", "supervisor/child.py",
        "send_descriptors=process.reach is Reach.DIALS,", "send_descriptors=True,", "courier/send-descriptor",
    ),
    _one(
        "everyone-dials", "supervisor/child.py",
        'frozenset({"dial"}) if process.reach is Reach.DIALS else frozenset()', 'frozenset({"dial"})',
        "mx/connect-tcp", "keyring/connect-tcp",
    ),
    _one(
        "everyone-writes-files", "supervisor/child.py", "files=process.disk is not Disk.EMPTY,\n        "
        "writable=process.disk is Disk.DATA,", "files=True,\n        writable=True,",
        "mx/leave-a-file-behind", "dialer/leave-a-file-behind",
    ),
)  # fmt: skip

LIMITS = (
    _limit_missing("CORE", "0", "keyring/dump-core"),
    _limit_missing("DATA", "private + lock.memory_bytes", "mx/take-memory"),
    _limit_missing("FSIZE", "lock.file_bytes", "store/grow-file"),
    _limit_missing("NOFILE", "lock.open_files", "resolver/take-descriptors"),
    _one(
        "threads-not-limited", _SANDBOX, "limits[resource.RLIMIT_NPROC] = lock.threads * ",
        "limits[resource.RLIMIT_NPROC] = 100 * lock.threads * ", "mx/take-threads",
    ),
)  # fmt: skip

WALLS = (*DESCRIPTORS_AND_FILES, *SYSTEM_CALLS, *LIMITS)

CREDENTIALS = (
    _one(
        "auth-compares-no-release", "records/halves.py",
        "if not hmac.compare_digest(hashlib.sha256(release).digest(), self.release_hash):", "if not release:",
        "keyring/keyring-says-yes", "keyring/keyring-wrong-release",
    ),
    _one(
        "keyring-redeems-for-any-account", "keyring/logins.py", "checked.account != account or ", "",
        "auth/auth-grafts-half",
    ),
    _one(
        "nonce-redeemed-twice", "keyring/logins.py", "self._checked.pop(nonce, None)\n        if checked is None",
        "self._checked.get(nonce, None)\n        if checked is None", "auth/auth-replays-nonce",
    ),
    _one(
        "keyring-counts-no-guesses", "keyring/logins.py", " and not self._failures.exhausted(mid)", "",
        "auth/auth-outlasts-limit",
    ),
    _one(
        "keyring-says-which-accounts-exist", "keyring/logins.py", "        if not right or not may or not _may(",
        '        if not rows:\n            raise Refused("no such account", code="no-such-account")\n'
        "        if not right or not may or not _may(", "auth/auth-enumerates-accounts",
    ),
    _one(
        "token-of-another-account", "keyring/tokens.py", "if setup is None or setup.seed.account != account:",
        "if setup is None:", "auth/auth-sets-half",
    ),
)  # fmt: skip

NEIGHBOURS = (
    _one(
        "binding-signature-not-verified", "records/signed.py",
        "public_key.verify(bytes(record[-SIGNATURE_BYTES:]), _statement(header, fields))",
        "_statement(header, fields)", "directory/directory-swaps-key",
    ),
    _one(
        "binding-of-another-account", "records/mailbox.py", " or owner != account or ", " or ",
        "directory/directory-swaps-key",
    ),
    _one(
        "peer-added-keyring-lists-mailboxes", "boundary/peers.py",
        '("GrantSessions", "RevokeSessions")', '("GrantSessions", "RevokeSessions", "ListMailboxes")',
        "keyring/keyring-reads-by-grant",
    ),
    _one(
        "epoch-of-the-future", "store/handle_session.py", "if epoch > now_ms() + EPOCH_AHEAD_MS:", "if epoch < 0:",
        "keyring/keyring-raises-epoch", slow=True,
    ),
)  # fmt: skip

WEAKENINGS = (*WALLS, *CREDENTIALS, *NEIGHBOURS)
