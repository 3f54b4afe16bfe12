"""What a reader of the figures must know of the machine."""

import os
import platform
import statistics
import time
from pathlib import Path

SYNCS = 200


def describe(directory: Path) -> dict[str, str | int | float]:
    """The machine, and what a sync costs in `directory`."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal:")), 0)
    return {
        "cpu": model,
        "cores": os.cpu_count() or 0,
        "memory_gib": round(memory / (1 << 20), 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "file_system": _file_system(directory),
        "append_and_fdatasync_ms": _sync_ms(directory),
        "load_average_before": os.getloadavg()[0],
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _file_system(directory: Path) -> str:
    mounts = [line.split()[1:3] for line in _lines("/proc/mounts")]
    held = [(place, kind) for place, kind in mounts if directory.resolve().is_relative_to(place)]
    return max(held, key=lambda one: len(one[0]))[1] if held else "?"


def _sync_ms(directory: Path) -> float:
    path, taken = directory / "sync-test", []
    with path.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            begun = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
    path.unlink()
    return round(statistics.median(taken) * 1000, 3)
