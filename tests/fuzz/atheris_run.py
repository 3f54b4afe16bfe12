"""Fuzz one target with atheris: `python -m tests.fuzz.atheris_run NAME FOLDER SECONDS`, from the repository.

New inputs and what failed (crash-*, slow-*) are written to FOLDER; the committed corpus is read and never written.
Exit 0: nothing found in that time.
"""

import sys

import atheris

INPUT_MAX = 4096  # octets
INPUT_SECONDS = 5  # libFuzzer ends the run at one input that takes longer
MEMORY_MB = 1024
MODULES = [
    "bulkhead.wire", "bulkhead.access.deflate", "bulkhead.resolver", "bulkhead.boundary.codec", "bulkhead.records",
    "bulkhead.ledger", "bulkhead.config", "bulkhead.standby",
]  # fmt: skip


def main() -> None:
    name, folder, seconds = sys.argv[1:]
    with atheris.instrument_imports(include=MODULES):
        from tests.fuzz.harness import CORPUS
        from tests.fuzz.targets import HARNESSES
    options = {"max_total_time": seconds, "max_len": INPUT_MAX, "timeout": INPUT_SECONDS, "rss_limit_mb": MEMORY_MB}
    arguments = [f"-{option}={value}" for option, value in options.items()]
    arguments += [f"-artifact_prefix={folder}/", "-print_final_stats=1", folder, str(CORPUS / name)]
    atheris.Setup([sys.argv[0], *arguments], HARNESSES[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
