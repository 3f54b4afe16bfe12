"""What operator and partner agreed, as terms that can be measured. A library without input or output.

terms.py     TERMS, the table of what can be promised; a contract.toml as promises
facts.py     what the entries of a ledger say that bears on a term
measure.py   promise, measurement, and whether it is kept
"""
