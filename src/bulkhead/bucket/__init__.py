"""bucket: an S3-compatible bucket with object lock as a place for backups, reached by a process of its own.

duty        put, list, read and remove objects of ciphertext for one `bulkhead backup` or `restore`
privileges  the network and the bucket's access key; no edge to a compartment and no key of the tenant; where
            the command runs as root, the user id 65534
why         botocore and what parses a storage's answers are foreign and large: whoever breaks them from outside must
            not have the command's edges to every holder
falls       backups can be withheld, or their octets replaced, which hashes find; what is locked stays

    carrier.py   START HERE: the process, one request and one answer at a time
    target.py    objects in a bucket, by botocore, which nothing else loads (docs/dependencies.md)
    frames.py    what crosses the two pipes
"""
