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
    ends_with: what the whole drill ends with, where it cannot be played on cells that are weakened so.
    """

    name: str
    edits: tuple[Edit, ...]
    caught_by: tuple[str, ...]
    user: bool = False
    missing: tuple[str, ...] = ()
    slow: bool = False
    ends_with: str = ""


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
    Weakening(
        "root-not-changed", (Edit(_SANDBOX, "        os.chroot(lock.root)\n", "        pass\n"),),
        ("access/stat-other-cell-name", "store/stat-host-name"),
        ends_with="did not come up",  # gates find their keys in their root
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

NEIGHBOUR_CALLS = (
    _one(
        "any-kill", _ALLOWED, '"kill": one_of(0, pid)', f'"kill": {_ALWAYS}', "access/signal-worker",
        missing=("landlock",),
    ),
    _one(
        "any-tgkill", _ALLOWED, '"tgkill": one_of(0, pid)', f'"tgkill": {_ALWAYS}', "access/signal-worker-thread",
        missing=("landlock",),
    ),
    _one(
        "ptrace-allowed", _ALLOWED, _FREE, _FREE + '    "ptrace",\n', "access/ptrace-worker", missing=("landlock",),
    ),
    _one(
        "programs-run-from-memory", _ALLOWED, _FREE, _FREE + '    "memfd_create", "execveat",\n',
        "mx/run-memory-file",
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

WALLS = (*DESCRIPTORS_AND_FILES, *SYSTEM_CALLS, *NEIGHBOUR_CALLS, *LIMITS)

CREDENTIALS = (
    _one(
        "auth-compares-no-release", "records/halves.py",
        "if not hmac.compare_digest(hashlib.sha256(release).digest(), self.release_hash):", "if not release:",
        "keyring/keyring-says-yes", "keyring/keyring-wrong-release",
    ),
    _one(
        "a-destroyed-key-stays-in-the-key-file", "holder/keys.py",
        "gone = [key for key in self.keys.keys if (key.name, key.version) == (name, version)]", "gone = []",
        "keyring/keyring-opens-older-copy", "keyring/backup-from-before-a-rotation",
    ),
    _one(
        "a-restore-replays-no-ledger", "cli/restore_log.py", "acts_of(log.entries(since, log.size))", "acts_of(())",
        "auth/restored-yesterday",
    ),
    Weakening(
        "a-restore-keeps-what-was-changed-or-revoked",
        (
            Edit("cli/restore_acts.py", "        await keyring.forget(dead)\n", ""),
            Edit("cli/restore_acts.py", "        await auth.forget(dead)\n", ""),
        ),
        ("auth/restored-yesterday",),
    ),
    Weakening(
        "a-restore-opens-who-was-cancelled-or-suspended",
        (
            Edit("cli/restore_acts.py", "await keyring.replay(since.states, ", "await keyring.replay({}, "),
            Edit("auth/restore.py", "for account, asked in since.states.items():", "for account, asked in ():"),
            Edit("cli/restore_acts.py", "await directory.replay(statuses)", "await directory.replay({})"),
        ),
        ("auth/restored-yesterday",),
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
        "auth/auth-outlasts-limit", "auth/auth-sprays-accounts",
    ),
    _one(
        "keyring-counts-no-accounts", "keyring/failures.py",
        "return mid not in self._counts and len(self._counts) >= self.accounts_max", "return False",
        "auth/auth-sprays-accounts",
    ),
    _one(
        "gates-share-an-accounts-limits", "auth/limits.py", "return account + gate.encode()", "return account",
        "submit/submit-locks-out",
    ),
    _one(
        "keyring-says-which-accounts-exist", "keyring/logins.py", "        if not right or revoked or not self",
        '        if not known:\n            raise Refused("no such account", code="no-such-account")\n'
        "        if not right or revoked or not self", "auth/auth-enumerates-accounts",
    ),
    _one(
        "token-of-another-account", "keyring/tokens.py", "if setup is None or setup.seed.account != account:",
        "if setup is None:", "auth/auth-sets-half",
    ),
    _one(
        "token-of-an-app-password", "keyring/halves.py", "if request.token is None or request.cred != MAIN_PASSWORD:",
        "if request.token is None:", "auth/auth-adds-app-password",
    ),
    _one(
        "revoked-app-password-keeps-its-sessions", "keyring/handle.py", '"password-changed", request.cred)',
        '"password-changed", request.cred + 9)', "access/access-outgrows-app-password",
    ),
)  # fmt: skip

SESSIONS = (
    _one(
        "keyring-redeems-for-any-scope", "keyring/logins.py", " or checked.scope != scope or self._stop.stopped",
        " or self._stop.stopped", "auth/auth-widens-scope",
    ),
    _one(
        "submit-gets-keys", "keyring/logins.py", "if request.scope != Scope.SUBMIT and wrapped.seed is not None:",
        "if wrapped.seed is not None:", "submit/submit-reads",
    ),
    _one(
        "store-asks-no-channel", "store/grants.py", "if session is None or session.channel != channel:",
        "if session is None:", "access/access-steals-handle",
    ),
    _one(
        "keyring-asks-no-channel", "keyring/sessions.py", "if session is None or session.channel != channel or ",
        "if session is None or ", "access/access-steals-handle",
    ),
    _one(
        "store-checks-no-expiry", "store/grants.py", "        if session.expires <= now_ms:\n",
        "        if session.expires <= 0:\n", "access/access-outlasts-expiry",
    ),
    _one(
        "keyring-checks-no-expiry", "keyring/sessions.py", "session.expires <= time.time() * 1000:",
        "session.expires <= 0:", "access/access-outlasts-expiry",
    ),
    _one(
        "store-not-told-of-the-end", "keyring/sessions.py", "        if granted:\n", "        if not granted:\n",
        "access/access-outlives-session",
    ),
    _one(
        "epoch-not-checked", "store/handle_session.py", "if epoch < known:", "if epoch < 0:",
        "keyring/keyring-old-epoch",
    ),
    _one(
        "epoch-of-the-future", "store/handle_session.py", "if epoch > now_ms() + EPOCH_AHEAD_MS:", "if epoch < 0:",
        "keyring/keyring-raises-epoch", slow=True,
    ),
)  # fmt: skip

PEERS = (
    _one(
        "peer-added-mx-to-keyring", "boundary/peers.py", '    Peering("mx", "store", _LOOK_UP_AND_APPEND),\n',
        '    Peering("mx", "store", _LOOK_UP_AND_APPEND),\n    Peering("mx", "keyring", ("OpenArrived",)),\n',
        "mx/mx-delivers-elsewhere",
    ),
    _one(
        "peer-added-queue-to-keyring", "boundary/peers.py", '    Peering("auth", "ledger", ("AppendEvents",)),\n',
        '    Peering("auth", "ledger", ("AppendEvents",)),\n    Peering("queue", "keyring", ("OpenQueued",)),\n',
        "queue/queue-asks-keys",
    ),
    _one(
        "request-added-auth-rotates-keyring", "boundary/peers.py",
        '"keyring", ("CheckHalf", "AddHalf", ', '"keyring", ("RotateKey", "CheckHalf", "AddHalf", ',
        "auth/auth-rotates-keyring",
    ),
    _one(
        "incident-believed-without-limit", "auth/watch.py", " or self._canaries.is_full(b\"\")", "",
        "incident/incident-refuses-logins",
    ),
    _one(
        "request-added-console-records-components", "boundary/peers.py",
        'Peering("console", "incident", (', 'Peering("console", "incident", ("RecordComponents", ',
        "console/console-hides-flaws",
    ),
    _one(
        "use-of-a-canary-not-noted", "incident/handle.py",
        "    incident.seeds.hit(copy, request.network, right=True)\n", "", "auth/auth-tells-canaries",
    ),
    _one(
        "request-added-keyring-lists-mailboxes", "boundary/peers.py",
        '("GrantSessions", "RevokeSessions", ', '("GrantSessions", "RevokeSessions", "ListMailboxes", ',
        "keyring/keyring-reads-by-grant",
    ),
    _one(
        "request-added-gates-count-the-store", "boundary/peers.py",
        '_LOOK_UP_AND_APPEND = ("CheckRoom", "DeliverMail")',
        '_LOOK_UP_AND_APPEND = ("CheckRoom", "DeliverMail", "CountStore")', "mx/mx-names-messages",
    ),
    _one(
        "request-added-courier-lists-the-queue", "boundary/peers.py", '("TakeWork", "ReadQueued", "ReportAttempt"),',
        '("TakeWork", "ReadQueued", "ReportAttempt", "ListQueue"),', "queue/queue-asks-keys",
    ),
)  # fmt: skip

MAIL = (
    _one(
        "binding-signature-not-verified", "records/signed.py",
        "public_key.verify(bytes(record[-SIGNATURE_BYTES:]), _statement(header, fields))",
        "_statement(header, fields)", "directory/directory-swaps-key",
    ),
    _one(
        "mail-to-a-dropped-key-taken", "store/rows.py", "if generation_of(copy.box) < room.generation:",
        "if generation_of(copy.box) < 0:", "directory/directory-shows-old-binding",
    ),
    Weakening(
        "older-binding-taken-back",
        (
            Edit("directory/book.py", "return self.check_binding(binding) > Binding(row[0]).generation",
                 "return bool(self.check_binding(binding))"),
            Edit("directory/book.py", "and Binding(binding.record).generation > known:", "and known:"),
        ),
        ("access/gates-bring-bindings",),
    ),
    _one(
        "keyring-believed-about-generations", "store/handle_session.py",
        'if _any(connection, "<", values) or not _any(connection, ">=", values):', "if request.below < 0:",
        "keyring/keyring-shuts-mail-out",
    ),
    _one(
        "older-seed-kept", "keyring/renewal.py", ".without_previous()", "", "access/access-asks-dropped-keys",
    ),
    _one(
        "renewed-to-the-same-seed", "keyring/renewal.py", "wrapped.generation + 1, new_secret())",
        "wrapped.generation + 1, wrapped.seed)", "keyring/keyring-copy-of-before",
    ),
    _one(
        "binding-of-another-account", "records/mailbox.py", " or owner != account or ", " or ",
        "directory/directory-swaps-key",
    ),
    _one(
        "store-finds-any-message", "store/handle_read.py", "FROM email WHERE account = ? AND email = ?",
        "FROM email WHERE ? <> 0 AND email = ?", "access/access-strangers-mail",
    ),
    _one(
        "store-changes-any-mailbox", "store/rows.py", "recent_from FROM mailbox WHERE account = ? AND mailbox = ?",
        "recent_from FROM mailbox WHERE ? <> 0 AND mailbox = ?", "access/access-strangers-mail",
    ),
    _one(
        "store-appends-copies-of-others", "store/handle_delivery.py", "if request.copy.account != session.account:",
        "if not request.copy.account:", "access/access-strangers-mail",
    ),
    _one(
        "store-counts-any-mailbox", "store/state.py", "SELECT seq FROM mailbox WHERE account = ? AND mailbox = ?",
        "SELECT seq FROM mailbox WHERE ? <> 0 AND mailbox = ?", "access/access-strangers-mail",
    ),
    _one(
        "page-keys-not-counted", "keyring/openings.py", "            self.opened.pages += len(part)\n", "",
        "access/access-uncounted-pages",
    ),
    Weakening(
        "slot-bound-to-no-message",
        (
            Edit("records/slot.py", "require_key(message_key), (account, email_id), nonce",
                 "require_key(message_key), (account,), nonce"),
            Edit("records/slot.py", "Kind.SLOT, slot_key, (account, email_id))", "Kind.SLOT, slot_key, (account,))"),
        ),
        ("store/store-swaps-slots",),
    ),
    Weakening(
        "page-bound-to-no-version",
        (
            Edit("records/page.py", "fields = (account, u32(number), u32(version))", "fields = (account, u32(number))"),
            Edit("records/page.py", "page_key, (account, u32(number), u32(version))))",
                 "page_key, (account, u32(number))))"),
        ),
        ("store/store-swaps-slots",),
    ),
    _one(
        "courier-compares-no-envelope", "records/queued.py",
        "        if reverse_path != self.reverse_path or any(", "        if not places or all(",
        "queue/queue-readdresses",
    ),
    _one(
        "queue-box-bound-to-no-message", "records/queued.py",
        "    fields = (tenant.encode(\"ascii\"), QUEUE_ACCOUNT, queue_id)\n    key =",
        "    fields = (tenant.encode(\"ascii\"), QUEUE_ACCOUNT, queue_id)\n    return bytes(32)\n    key =",
        "queue/queue-asks-keys",
    ),
    _one(
        "queue-believes-any-forward", "records/forward.py", "            pinned.verify(",
        "            max(",
        "mx/mx-sends-elsewhere",
    ),
    _one(
        "notices-as-directory-says", "courier/notices.py", "            found.append(str(parse_address(one)))\n",
        "            found.append(one)\n", "directory/directory-writes-notices",
    ),
    _one(
        "a-forward-is-good-for-ever", "queue/forwards.py",
        "        if not now < forward.expires <= now + GOOD_MS_MAX:\n",
        "        if not forward.expires:\n", "mx/mx-sends-elsewhere",
    ),
    _one(
        "anyone-reads-what-is-queued", "queue/handle.py", "    if not rows.exists(queue.database, request.queue_id):\n",
        "    if not request.queue_id:\n", "queue/queue-asks-keys",
    ),
)  # fmt: skip

NEIGHBOURS = (
    _one(
        "directory-counts-no-guesses", "directory/guesses.py", "        if self.limit and ",
        "        if not self.limit and ",
        "mx/mx-enumerates-addresses",
    ),
    _one(
        "directory-answers-patterns", "directory/reach.py",
        "ON account.number = address.account WHERE address.key = ?\"",
        "ON account.number = address.account WHERE address.key LIKE ?\"", "mx/mx-enumerates-addresses",
    ),
    _one(
        "dialer-allows-loopback", "dialer/routes.py",
        "        if not address.is_global or address.is_multicast",
        "        if address.is_loopback:\n            return address\n"
        "        if not address.is_global or address.is_multicast",
        "courier/courier-reaches-inside", "resolver/resolver-lies",
    ),
    _one(
        "name-servers-anywhere", "dialer/routes.py",
        "if address not in self.nameservers or port != self.dns_port:", "if port != self.dns_port:",
        "resolver/resolver-reaches-inside",
    ),
    _one(
        "courier-takes-any-socket", "courier/attempt.py",
        "        require_connected_to(sock, socket.SOCK_STREAM, target.address, means.port)\n", "",
        "dialer/dialer-hands-over-another",
    ),
    _one(
        "descriptors-taken-on-any-edge", "boundary/edge.py", "data = self._sock.recv(RECEIVE_SIZE)",
        "data, _, _, _ = socket.recv_fds(self._sock, RECEIVE_SIZE, DESCRIPTORS_MAX)", "mx/mx-passes-descriptors",
    ),
    _one(
        "unsealed-memory-file-taken", "supervisor/memfd.py", "    if seals & SEALS != SEALS:\n",
        "    if seals < 0:\n", "mx/mx-takes-unsealed",
    ),
    _one(
        "automatic-orders-without-end", "holder/order_check.py",
        "    if checked.automatic and (not isinstance(until, int) or until > now + AUTOMATIC_MS):\n",
        "    if checked.automatic and now < 0:\n", "incident/incident-orders-more",
    ),
    _one(
        "outbound-stopped-in-one-holder", "keyring/handle.py", "    keyring.outbound.require_none()\n", "",
        "queue/queue-ignores-stop",
    ),
    _one(
        "lift-before-the-ledger-knows", "holder/stop.py",
        '        await witness(self._exchange, request.stamp, "StopLifted", details)\n', "",
        "ledger/ledger-stopped", "ledger/ledger-full",
    ),
    _one(
        "surfaces-never-closed", "holder/surfaces.py", "        return any(surface & surfaces and",
        "        return not self and any(surface & surfaces and",
        "access/stop-passed-by-login", "submit/stop-passed-by-sending", "access/freeze-passed",
    ),
    _one(
        "resets-forgotten", "holder/surfaces.py", "            surface == bit and set_at <=",
        "            surface < 0 and set_at <=", "access/reset-passed",
    ),
    _one(
        "openings-not-counted", "keyring/openings.py",
        "        self.rate.add(session.channel, session.account, opened)\n", "",
        "access/keys-by-the-million",
    ),
    _one(
        "history-not-compared", "ledger/verify.py",
        "if self._previous is not None and frontier.root() != self._previous.root:", "if self._previous is None:",
        "ledger/ledger-rewrites",
    ),
    _one(
        "history-may-be-cut", "ledger/verify.py",
        "if previous.origin != now.origin or previous.size > now.size:",
        "if previous.origin != now.origin:", "ledger/ledger-rewrites",
    ),
    _one(
        "witness-forgets", "ledger/witness.py",
        "            self.seen = self._load()\n", "            self.seen = None\n",
        "ledger/ledger-before-witness",
    ),
    _one(
        "frames-of-any-length", "boundary/codec.py", "        if length > _LIMIT[kind]:\n            raise Bound",
        "        if _LIMIT[kind] < 0:\n            raise Bound", "mx/mx-never-ends",
    ),
)  # fmt: skip

CELLS = (
    _one(
        "one-uid-for-keyring-and-store",
        "boundary/processes.py",
        "SLOTS_PER_CELL * cell_slot + process.slot",
        'SLOTS_PER_CELL * cell_slot + (process.slot if process.name != "store" else 11)',
        "keyring/keyring-shares-uid",
        "store/store-shares-uid",
    ),
    Weakening(
        "the-same-uids-in-every-cell",
        (Edit("boundary/processes.py", "return uid_base + SLOTS_PER_CELL * cell_slot + ", "return uid_base + "),),
        ("store/store-shares-uid", "access/access-shares-uid"),
        ends_with="internal fault",  # limits of threads count by uid: six auths have those of one, and set no password
    ),
    Weakening(
        "environment-kept",  # a cell cleans it, and so does whoever starts the cell
        (
            Edit("supervisor/launch.py", 'env={"LANG": "C.UTF-8"}', "env=None"),
            Edit("supervisor/installation.py", 'env={"LANG": "C.UTF-8"}', "env=None"),
        ),
        ("auth/auth-walls-stand", "courier/courier-walls-stand"),
    ),
    _one(
        "no-filter-in-live-processes", _SANDBOX, "        seccomp.apply(seccomp.with_pid(",
        '        if "asyncio.runners" not in sys.modules:\n            seccomp.apply(seccomp.with_pid(',
        "queue/queue-walls-stand", "dialer/dialer-walls-stand",
    ),
    _one(
        "one-address-layout", "supervisor/launch.py", 'env={"LANG": "C.UTF-8"}, cwd="/",',
        'env={"LANG": "C.UTF-8"}, cwd="/",\n'
        '                preexec_fn=lambda: __import__("ctypes").CDLL(None).personality(0x0040000),',
        "keyring/keyring-knows-layouts", "mx/mx-knows-layouts",
    ),
)  # fmt: skip

_FILTER_OF_UIDS = '{"setresuid": own, "setresgid": own, "setgroups"'

IMAGES = (
    _one(
        "image-locked-after-its-imports", "supervisor/image_start.py", "    try:\n        report = lock_image(terms)\n",
        "    import_from(terms.paths)\n    from bulkhead.boundary.processes import Image\n"
        "    from bulkhead.supervisor.images import preload\n\n    preload(Image(terms.image))\n"
        "    try:\n        report = lock_image(terms)\n",
        "mx/wheel-in-front", "dialer/wheel-in-vault",
    ),
    _one(
        "image-without-landlock", "supervisor/image_lock.py", "            landlock.restrict(ruleset, rules)\n",
        "            pass\n", "mx/wheel-in-front", "dialer/wheel-in-vault",
    ),
    _one(
        "image-becomes-any-uid", "supervisor/image_calls.py", _FILTER_OF_UIDS,
        _FILTER_OF_UIDS.replace("own", "ALWAYS"), "mx/wheel-in-front", "dialer/wheel-in-vault",
    ),
)  # fmt: skip

MEMORY = (
    _one(
        "gate-keeps-passwords", "wipe.py", "        _memset(id(octets) + _DATA + start, 0, stop - start)\n",
        "        pass\n", "access/access-memory-residue",
    ),
)  # fmt: skip

ORDERS = (
    _one(
        "no-quorum", "records/order.py", "    _require(quorum, tuple(signers.values()), automatic=automatic)\n", "",
        "directory/orders-forged", "directory/orders-destroy-early",
    ),
    _one(
        "signatures-unread", "records/order.py", "        check_approval(key, approval, signed, challenge)\n", "",
        "directory/orders-forged",
    ),
    _one(
        "orders-of-any-roster", "holder/order_check.py",
        "if (order.roster, order.roster_hash) != (known.roster.version, known.hash):", "if False:",
        "directory/orders-forged",
    ),
    _one(
        "cases-signed-by-anybody", "records/case.py",
        "    check_approval(key, approval, signed_octets(CASE_LABEL, data), statement_hash(CASE_LABEL, data))\n", "",
        "directory/support-cases-forged",
    ),
    _one(
        "any-code-will-do", "holder/desk.py",
        "        if tried is not Tried.RIGHT:\n", "        if tried is Tried.VOID:\n",
        "directory/support-acts-without-code",
    ),
    _one(
        "case-of-another-address", "directory/card.py", "    if account.account != case.account:\n", "    if False:\n",
        "directory/support-cases-forged",
    ),
    _one(
        "rosters-in-any-order", "holder/roster.py",
        "            check_next(new, self._pinned.tenant, version, before)\n", "", "directory/rosters-forged",
    ),
    _one(
        "sessions-signed-by-anybody", "records/staff.py",
        "    check_approval(key, approval, signed_octets(LABEL, data), statement_hash(LABEL, data))\n", "",
        "console/console-without-officer",
    ),
    _one(
        "nonces-for-ever", "holder/staff.py",
        " or nonce in self._spent:", ":", "console/console-without-officer",
    ),
    _one(
        "no-nonce-for-anybody", "holder/staff.py", "        if officer.role is Role.PARTNER_COLLECTOR:\n",
        "        if not nonce:\n", "console/console-outlives-session",
    ),
    _one(
        "log-by-one-holders-word", "ledger/sessions.py", "WITNESSES = 3 ", "WITNESSES = 1 ",
        "console/console-outlives-session",
    ),
    _one(
        "sessions-after-their-time", "holder/staff.py", "                and now < session.expires\n", "",
        "console/console-outlives-session",
    ),
    _one(
        "caps-by-session", "holder/staff.py", "        self._make_room(officer.name)\n",
        "        self._make_room(officer.name)\n        self._rows = Hourly()\n", "console/console-enumerates",
    ),
    _one(
        "cases-of-others", "holder/staff.py", '        if officer not in ("", session.officer) and not closes:\n',
        "        if False:\n", "console/console-works-cases",
    ),
    _one(
        "sessions-switch-logins", "directory/services.py",
        "    if actor.startswith(STAFF_ACTOR) and (before ^ after) & Service.LOGIN:\n", "    if False:\n",
        "console/console-allows",
    ),
    _one(
        "support-sees-all", "holder/staff.py", "        if session.role in row.masked:\n", "        if False:\n",
        "console/console-enumerates",
    ),
    _one(
        "destroys-at-once", "holder/orders.py", "due=kept.at + row.wait_ms)", "due=kept.at + 1)",
        "directory/orders-destroy-early",
    ),
    _one(
        "waits-by-the-clock", "holder/orders.py", "if rows.waited(self._database, serial) < kept.due - kept.at:",
        "if rows.waited(self._database, serial) < 0:", "directory/orders-destroy-early",
    ),
    _one(
        "lift-by-the-clock", "holder/order_effects.py", "            return epoch or order.issued\n",
        "            return epoch or kept.at\n", "directory/orders-replayed",
    ),
    _one(
        "command-line-as-before", "holder/order_guard.py", "or not self._refused() or", "or True or",
        "directory/orders-bypassed",
    ),
    _one(
        "lines-as-they-come", "directory/provision.py", "            if chunk_hash(request.data) != hashes",
        '            if False and b"" != hashes', "directory/provision-changed",
    ),
    _one(
        "first-passwords-as-they-come", "holder/provision.py", "            if chunk_hash(request.data) != hashes",
        '            if False and b"" != hashes', "auth/first-password-forged",
    ),
)  # fmt: skip

CELLS += IMAGES + MEMORY
WEAKENINGS = (*WALLS, *CREDENTIALS, *SESSIONS, *PEERS, *MAIL, *NEIGHBOURS, *CELLS, *ORDERS)
