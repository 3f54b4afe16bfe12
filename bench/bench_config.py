"""Loading and narrowing: 1,000 tenants must not hold a start for long. Prints seconds of CPU, best of three."""

import tempfile
import time
from pathlib import Path

from bulkhead.config import load_installation, narrow, render_installation, render_tenant, write_file
from bulkhead.config.schema import COMPARTMENTS, TENANTS_MAX


def install(directory: Path, tenants: int) -> None:
    """Write an installation of that many tenants."""
    write_file(directory / "bulkhead.toml", render_installation({}))
    for slot in range(tenants):
        names = {f"names.{gate}": f"{gate}.t{slot}.example" for gate in ("mx", "submit", "access")}
        address = f"10.0.{slot // 250}.{slot % 250 + 1}"
        text = render_tenant({"id": f"t{slot}", "slot": slot, "listen.address": address, **names})
        (directory / "tenants").mkdir(exist_ok=True)
        (directory / "tenants" / f"t{slot}.toml").write_text(text)


def main() -> None:
    """Measure for six tenants and for as many as an installation may have."""
    for tenants in (6, TENANTS_MAX):
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            install(directory, tenants)
            loading, narrowing = [], []
            for _ in range(3):
                start = time.process_time()
                installation = load_installation(directory)
                loaded = time.process_time()
                for tenant in installation.tenants.values():
                    for compartment in COMPARTMENTS:
                        narrow(installation, tenant, compartment)
                loading.append(loaded - start)
                narrowing.append(time.process_time() - loaded)
        print(f"config: {tenants:5} tenants  load {min(loading):6.3f} s  narrow {min(narrowing):6.3f} s")


if __name__ == "__main__":
    main()
