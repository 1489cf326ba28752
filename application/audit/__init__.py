"""Tamper evidence: a Merkle tree over the event log, signed checkpoints of it, proofs, and checks of both.

merkle.py        leaves, nodes, proofs: RFC 6962 and nothing else
tiles.py         the tree as it is stored: tiles of 256 hashes, extended and asked for proofs
notes.py         checkpoints as signed notes (C2SP), without any cryptography
keeping.py       the loop that extends the tree and signs checkpoints
verifying.py     the walk over the whole log; due.py: the checkpoints on its way;
                 texts.py: large texts beside the log
bundles.py       one execution with its proofs in a file, and the check of such a file
ports.py         what all of them ask of a database and of a key

Its one rule: it says what was changed, never repairs it, and never signs over a difference.
"""
