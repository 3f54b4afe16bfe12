"""A holder's key file: its key set, sealed under the root key that the supervisor handed over by descriptor."""

from pathlib import Path

from bulkhead.boundary.host import Host
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.records.keyfile import KeySet

KEY_FILE = Path("keys.sealed")  # relative: the compartment's directory is its root
KEY_FILE_MAX = 1 << 20


def load_keys(host: Host, path: Path = KEY_FILE) -> KeySet:
    """This compartment's keys. Raises ConfigError when there are none, IntegrityError when they do not open."""
    if host.root_key is None:
        raise ConfigError(
            f"{host.channel.compartment} was given no root key; start it with `bulkhead cell run {host.tenant}`"
        )
    try:
        with path.open("rb") as file:
            record = file.read(KEY_FILE_MAX)
    except OSError as error:
        advice = "let its user read it" if isinstance(error, PermissionError) else "restore it from a backup"
        raise ConfigError(f"{host.channel.compartment}/{path}: {error.strerror}; {advice}") from None
    try:
        return KeySet.open(record, host.tenant, host.channel.compartment, host.root_key)
    except IntegrityError as error:
        raise IntegrityError(
            f"{host.channel.compartment}/{path}: {error.public}; give it the root key of {host.tenant}, "
            "or restore it from a backup"
        ) from None
