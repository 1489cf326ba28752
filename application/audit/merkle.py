"""The Merkle tree of RFC 6962, section 2.1: hashes of leaves and nodes, and which of them make a proof.

Called by everything beside it. Its one rule: it is the tree of the RFC to the bit, so that any verifier of
Certificate Transparency's proofs can check ours. A tree is named by its size; ranges are half open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TypeAlias

Range: TypeAlias = tuple[int, int]
"""Leaves from the first number up to, but without, the second."""

StoredEvent: TypeAlias = tuple[int, int, bytes, bytes, bytes, bytes]
"""Position, version, stream, tag, body, metadata: the bytes as the log holds them."""

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(event: StoredEvent) -> bytes:
    """SHA-256(0x00 || canonical bytes). The lengths stand first, so no two events have the same bytes."""
    position, version, stream, tag, body, metadata = event
    return sha256(
        b"\x00%d %d %d %d %d %d\n%b%b%b%b"
        % (position, version, len(stream), len(tag), len(body), len(metadata), stream, tag, body, metadata)
    ).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def parents(hashes: Sequence[bytes]) -> list[bytes]:
    """The next level of an even number of hashes."""
    pairs = iter(hashes)
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]


def split(size: int) -> int:
    """The largest power of two below a size of at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def complete_subtrees(leaves: Range) -> list[Range]:
    """A range whose begin is aligned, as the complete subtrees that it is made of, from left to right."""
    begin, end = leaves
    found = []
    while begin < end:
        size = 1 << ((end - begin).bit_length() - 1)
        found.append((begin, begin + size))
        begin += size
    return found


def joined(subtrees: Sequence[bytes]) -> bytes:
    """The root over complete subtrees, from left to right."""
    if not subtrees:
        return EMPTY_ROOT
    *others, root = subtrees
    for left in reversed(others):
        root = node_hash(left, root)
    return root


def inclusion_path(index: int, size: int) -> list[Range]:
    """PATH(m, D[n]): the subtrees that prove a leaf, from the leaf up. `index` from 0, below `size`."""
    begin, end, path = 0, size, list[Range]()
    while end - begin > 1:
        middle = begin + split(end - begin)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((begin, middle))
            begin = middle
    return path[::-1]


def consistency_path(old: int, new: int) -> list[Range]:
    """PROOF(m, D[n]): the subtrees that prove the tree of the old size to be the beginning of the new one.

    Of 0 < old <= new; () where they are the same.
    """
    begin, end, path = 0, new, list[Range]()
    while end != old:
        middle = begin + split(end - begin)
        if old <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((begin, middle))
            begin = middle
    if begin:
        path.append((begin, end))
    return path[::-1]


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a path proves the leaf at an index (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether a path proves that the new tree begins with the old one (RFC 9162, section 2.1.4.2)."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old & (old - 1) == 0:
        path = [old_root, *path]
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    return _climb(at, last, path) == (old_root, new_root)


def _climb(at: int, last: int, path: Iterable[bytes]) -> tuple[bytes, bytes] | None:
    """The old and the new root that a consistency path leads to; None when it has the wrong length."""
    first, *rest = path
    old = new = first
    for sibling in rest:
        if last == 0:
            return None
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    return (old, new) if last == 0 else None
