"""Waits until every message is in its mailbox, as an IMAP client sees it, with as few questions as that needs."""

import asyncio
import ssl

POLL_SECONDS = 0.05
LOGINS_AT_ONCE = 4


class Inbox:
    """One logged-in IMAP connection over TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def login(cls, host: str, port: int, user: str, password: str) -> "Inbox":
        """Raises OSError where the server says no."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # what is measured is not its certificate
        inbox = cls(*await asyncio.open_connection(host, port, ssl=context))
        await inbox._reader.readline()
        await inbox._ask(f'LOGIN {user} "{password}"')
        return inbox

    async def count(self) -> int:
        """Messages in INBOX."""
        answer = await self._ask("STATUS INBOX (MESSAGES)")
        return int(answer.partition(b"(MESSAGES ")[2].partition(b")")[0])

    async def leave(self) -> None:
        """Log out and close."""
        await self._ask("LOGOUT")
        self._writer.close()

    async def _ask(self, command: str) -> bytes:
        self._writer.write(f"a {command}\r\n".encode())
        answer = b""
        while not answer.startswith(b"a "):
            line = await self._reader.readline()
            if not line or line.startswith((b"a NO", b"a BAD")):
                raise OSError(f"{command.partition(' ')[0]} was answered: {line.decode('latin-1').strip()}")
            if line.startswith(b"a "):
                break
            answer += line
            if line.startswith(b"* BYE") and command != "LOGOUT":
                raise OSError(line.decode("latin-1"))
        return answer


class Inboxes:
    """The INBOXes of all users, watched over connections that are open before anything is measured."""

    def __init__(self, inboxes: list[Inbox]) -> None:
        self._inboxes = inboxes

    @classmethod
    async def open(cls, host: str, port: int, users: list[tuple[str, str]]) -> "Inboxes":
        """Log all of (user, password) in."""
        turns = asyncio.Semaphore(LOGINS_AT_ONCE)

        async def login(user: str, password: str) -> Inbox:
            async with turns:
                return await Inbox.login(host, port, user, password)

        return cls(await asyncio.gather(*(login(*user) for user in users)))

    async def counts(self) -> list[int]:
        """Messages in each now."""
        return [await inbox.count() for inbox in self._inboxes]

    async def wait(self, expected: list[int]) -> None:
        """Return once each holds as many. One is asked at a time, so that waiting costs the server next to nothing."""
        for inbox, count in zip(self._inboxes, expected, strict=True):
            while await inbox.count() < count:
                await asyncio.sleep(POLL_SECONDS)

    async def close(self) -> None:
        """Log out."""
        for inbox in self._inboxes:
            await inbox.leave()
