"""Configuration: `bulkhead.toml` for the installation, `tenants/<id>.toml` for each tenant.

    schema.py     SETTINGS, every setting as a row: kind, default, limits, sentence, receivers
    values.py     the kinds, and one parser for each
    rules.py      what no single row can say: settings that must agree with each other
    load.py       the files as an Installation, or a ConfigError that names file, line, setting and what is allowed
    narrow.py     what one compartment may see of it
    render.py     new files, with the sentences as comments
    edit.py       one setting changed in a file that is there
    reference.py  docs/configuration.md, made from the table

Standard library only: the supervisor loads this package.
"""

from bulkhead.config.edit import set_value
from bulkhead.config.load import Installation, Origin, Tenant, check_files, load_installation, parse_tenant
from bulkhead.config.narrow import narrow
from bulkhead.config.render import render_installation, render_tenant, write_file

__all__ = [
    "Installation",
    "Origin",
    "Tenant",
    "check_files",
    "load_installation",
    "narrow",
    "parse_tenant",
    "render_installation",
    "render_tenant",
    "set_value",
    "write_file",
]
