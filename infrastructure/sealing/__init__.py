"""Contents at rest: sealed with a key of their execution, at the edge of the log and of its copies.

installation_key.py   the key that wraps the others: KASAL_ENCRYPTION_KEY
ciphers.py            what is done with a key: seal and open an event, a part of a content
keyring.py            the keys of executions, remembered for a while
log.py, feed.py       a log and a feed that seal and open on the way
"""
