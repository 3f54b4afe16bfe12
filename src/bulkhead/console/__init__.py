"""console: the REST API of the partner's staff (docs/console.md).

Duty: turn HTTPS requests into requests to holders, under the session whose token they bear. It decides nothing that
a holder could decide: sessions, roles and caps are the holders', by the roster that each has pinned.
Privileges: accepts connections on the `console` listener; its own directory, emptied once its certificate is loaded.
Peers: the holders, each with what STAFF_CALLS lists; incident with reads that name no address.
Standards: RFC 9110, 9112 (h11), RFC 9457 (problem details), OpenAPI 3.1.
If it falls: what the sessions that pass through it may do, while they live and within their caps; the contract and
the counts of canaries. It can make no session, no order, and no roster.

    http.py routing.py     HTTP/1.1 without I/O; from method and target to a call
    calls.py               CALLS, one function per call; others in allowances, cases, provisioning, accesses, metrics
    answers.py             what is taken and given; openapi.py  the document made from it; problem.py  refusals
    staffed.py             a session as a call uses it: requests to holders in AskAsStaff
    api.py                 what a request comes to
    process.py             starts it
"""
