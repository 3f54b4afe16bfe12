"""What of others runs here, which compartments load it, and which of it has a known flaw. A library of commands.

No compartment imports it. What is installed is read from the installation itself; who loads what is measured, by
loading each compartment's modules in a process of its own; what is known of flaws comes in files that somebody brings.

loaded.py       a process: what each compartment, each image and the command line load, printed as JSON
components.py   Component: what is installed, and who loads it
running.py      whether a cell that runs was started with what is installed now
cyclonedx.py    PURE: components as a CycloneDX 1.6 document, and back
osv.py          PURE: a record in the OSV format, bounded
severity.py     PURE: how bad it is: CVSS version 3 computed, or what the record's database says
match.py        PURE: whether a record concerns a component
shelf.py        records that were brought, as files of the installation
"""
