"""The first code of an image, run by its path: `python -I -S -B image_start.py NAME DESCRIPTOR`.

-S keeps site-packages off the path, whose .pth files would run before any lock. What is imported here is Python's own
and ours; it locks this process, and only then is anything else found. DESCRIPTOR is the image's control channel.
"""

import importlib.util
import os
import socket
import sys
from pathlib import Path


def find_ourselves() -> None:
    """Make `bulkhead` importable from where this file lies, and nothing else with it."""
    package = Path(__file__).resolve().parents[1]
    spec = importlib.util.spec_from_file_location(
        "bulkhead", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no package at {package}")
    module = sys.modules["bulkhead"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def main(arguments: list[str]) -> int:
    """Receive the terms, lock, import, serve. The exit status."""
    from bulkhead.errors import ConfigError
    from bulkhead.supervisor.control import TERMS_MAX, ControlChannel, Op
    from bulkhead.supervisor.image_lock import ImageTerms, import_from, lock_image
    from bulkhead.supervisor.memfd import read_sealed_memfd

    channel = ControlChannel(socket.socket(fileno=int(arguments[1])))
    message = channel.receive()
    if message is None or message[0] is not Op.TERMS or message[2] is None:
        return 1
    terms = ImageTerms.decode(read_sealed_memfd(message[2], TERMS_MAX))
    os.close(message[2])
    try:
        report = lock_image(terms)
    except ConfigError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    import_from(terms.paths)
    from bulkhead.supervisor.images import serve

    return serve(terms.image, channel, report)


if __name__ == "__main__":
    find_ourselves()
    sys.exit(main(sys.argv[1:]))
