"""incident: what tells that something happened: which accounts are canaries, and of which copy; the contract.

Duty: knows canaries by keyed hashes; learns of logins that were refused, and confirms right ones from a new network;
the first use of a canary is an entry of the ledger that names the copy that leaked.
Privileges: its own directory, no socket.   Peers: auth tells and asks it, the command line plants and lists, it tells
ledger, and may submit orders to keyring and queue.
Holds: HMACs of canaries' account ids under its own key; of hits the copy, the network and the time; a key that a roster
may let stop outbound mail or logins for an hour. No address, no password, no list of accounts.
If it falls: which account ids, of those it hears of, are canaries; ids and networks of refused logins and of logins
from new networks while it is compromised. It can keep silent, and refuse auth.CANARIES_PER_HOUR right logins an hour.
Where a roster has its key: stop outbound mail or logins, an hour at a time and few times a day; it lifts nothing.

    seeds.py     Seeds: the list, and what was hit
    automatic.py the orders that this machine signs
    contract.py  the contract in force, and how its promises stand
    advisories.py  known flaws of components that this cell's compartments load
    schema.py    the tables
    handle.py    one function per message
    create.py    the key it is made with
    process.py   starts it
"""
