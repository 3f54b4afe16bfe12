"""The other host's part of a warm standby: a directory of pieces, their following, the lease. Run by the command line.

Nothing here runs in a cell. `place` is the directory between the two hosts, `follow` applies what lies there, `promise`
is what the standby promised and when that has surely ended.
"""
