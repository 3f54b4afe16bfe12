"""IMAP with a real client over TLS, against the real holders."""

from tests.access.cell import Account, Cell, message


def test_a_client_logs_in_and_reads_a_message(cell: Cell, account: Account) -> None:
    text = message()
    cell.deliver(account, text)
    client = cell.imap(account)
    assert client.select("INBOX") == ("OK", [b"1"])
    kind, data = client.fetch("1", "(UID FLAGS RFC822.SIZE ENVELOPE BODY[])")
    assert kind == "OK"
    assert data[0][1] == text
    client.logout()
