"""What one compartment may see of the configuration. Standard library only.

A compartment gets the settings whose row lists it, as nested JSON-able values, and nothing else; file names are
replaced by the files' content, because no compartment opens a file of the operator's.
"""

from bulkhead.config.load import Installation, Tenant, read_zone
from bulkhead.config.schema import COMPARTMENTS, SETTINGS, Where
from bulkhead.config.values import Value

Json = bool | int | float | str | list[str] | list[int]
Narrowed = dict[str, Json | dict[str, Json]]


def narrow(installation: Installation, tenant: Tenant, compartment: str) -> Narrowed:
    """The settings of `compartment` in the cell of `tenant`: {"id": ..., "mx": {"idle_seconds": ...}, ...}.

    A section of which it may see nothing is absent. For the resolver, `zone_file` becomes `zone`, the file's text.
    Raises ConfigError where that file cannot be read, ValueError on an unknown compartment.
    """
    if compartment not in COMPARTMENTS:
        raise ValueError(f"no compartment {compartment}")
    seen: Narrowed = {}
    for setting in SETTINGS:
        if compartment not in setting.receivers:
            continue
        settings = installation.settings if setting.where is Where.INSTALLATION else tenant.settings
        name, value = setting.name, _json(settings[setting.key])
        if setting.key == "resolver.zone_file":
            name, value = "zone", read_zone(installation, tenant)
        if not setting.section:
            seen[name] = value
            continue
        section = seen.setdefault(setting.section, {})
        if not isinstance(section, dict):
            raise ValueError(f"{setting.section} is a setting and a section")
        section[name] = value
    return seen


def _json(value: Value) -> Json:
    if not isinstance(value, tuple):
        return value
    return [element for element in value if isinstance(element, str)] or [
        element for element in value if isinstance(element, int)
    ]
