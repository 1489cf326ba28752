"""The tree as it is stored: tiles of up to 256 hashes, as the C2SP tiled logs have them.

A tile of level 0 holds the hashes of 256 leaves, one of level 1 the roots of 256 tiles of level 0, and so on.
Called by the keeper, which extends the tree, and by whoever proves something. Its one rule: a tile is only
ever added to, so the beginning of one is the tile that an older and smaller tree had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from application.audit.merkle import HASH_SIZE, Range, complete_subtrees, joined, parents

HEIGHT = 8
WIDTH = 1 << HEIGHT


class Place(NamedTuple):
    """Which tile: its level, and its number within the level."""

    level: int
    number: int


Tiles = Mapping[Place, bytes]
"""Hashes side by side, by place."""


class DamagedTree(Exception):
    """A tile that the tree needs is not there, or too short."""


class Tree:
    """A tree that grows: its size, and the last tile of each level, as far as it is filled."""

    def __init__(self, size: int = 0, edge: Sequence[Sequence[bytes]] = ()) -> None:
        self.size = size
        self._edge = [list(hashes) for hashes in edge]

    @classmethod
    def of(cls, size: int, tiles: Tiles) -> Tree:
        """The tree of a size. Raises `DamagedTree` where one of `edge_places` is missing or short."""
        return cls(size, [edge_hashes(place, count, tiles) for place, count in edge_places(size)])

    def copy(self) -> Tree:
        return Tree(self.size, self._edge)

    def add(self, leaves: Sequence[bytes]) -> dict[Place, bytes]:
        """Append leaf hashes; the tiles that they have filled."""
        self.size += len(leaves)
        full: dict[Place, bytes] = {}
        if leaves:
            self._fill(0, leaves, full)
        return full

    def edge(self) -> dict[Place, bytes]:
        """The tiles that are not full, as far as they are."""
        places = edge_places(self.size)
        return {
            place: b"".join(hashes) for (place, _), hashes in zip(places, self._edge, strict=True) if hashes
        }

    def root(self) -> bytes:
        subtrees: list[bytes] = []
        for hashes in reversed(self._edge):
            subtrees += [
                subtree_root(hashes[begin:end]) for begin, end in complete_subtrees((0, len(hashes)))
            ]
        return joined(subtrees)

    def _fill(self, level: int, hashes: Sequence[bytes], full: dict[Place, bytes]) -> None:
        """Fill the level's tile, and the next ones; their roots go one level up."""
        if level == len(self._edge):
            self._edge.append([])
        waiting = [*self._edge[level], *hashes]
        number = ((self.size >> (HEIGHT * level)) - len(waiting)) // WIDTH
        roots = []
        for begin in range(0, len(waiting) - WIDTH + 1, WIDTH):
            tile = waiting[begin : begin + WIDTH]
            full[Place(level, number)] = b"".join(tile)
            roots.append(subtree_root(tile))
            number += 1
        self._edge[level] = waiting[len(waiting) - len(waiting) % WIDTH :]
        if roots:
            self._fill(level + 1, roots, full)


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """Over a power of two of hashes."""
    while len(hashes) > 1:
        hashes = parents(hashes)
    return hashes[0]


def edge_places(size: int) -> list[tuple[Place, int]]:
    """By level: where the last tile of a tree of that size is, and how many hashes it has (0: none yet)."""
    places, level = [], 0
    while count := size >> (HEIGHT * level):
        places.append((Place(level, count // WIDTH), count % WIDTH))
        level += 1
    return places


def edge_hashes(place: Place, count: int, tiles: Tiles) -> list[bytes]:
    """The first hashes of a tile."""
    tile = tiles.get(place, b"")
    if len(tile) < count * HASH_SIZE:
        raise DamagedTree(f"hash tile {place.number} of level {place.level} is missing or too short")
    return [tile[at : at + HASH_SIZE] for at in range(0, count * HASH_SIZE, HASH_SIZE)]


def place_of(subtree: Range) -> tuple[Place, int, int]:
    """The tile that has a complete subtree, and which of its hashes: from, how many."""
    begin, end = subtree
    level, height = divmod((end - begin).bit_length() - 1, HEIGHT)
    number, first = divmod(begin >> (HEIGHT * level), WIDTH)
    return Place(level, number), first, 1 << height


def places_for(ranges: Iterable[Range]) -> set[Place]:
    """The tiles from which the roots of ranges can be worked out."""
    return {place_of(subtree)[0] for leaves in ranges for subtree in complete_subtrees(leaves)}


def roots_of(ranges: Iterable[Range], tiles: Tiles) -> list[bytes]:
    """The root of each range, as proofs list them. Raises `DamagedTree`."""
    worked_out: dict[Range, bytes] = {}

    def root(subtree: Range) -> bytes:
        if subtree not in worked_out:
            worked_out[subtree] = _root_in(subtree, tiles)
        return worked_out[subtree]

    return [joined([root(subtree) for subtree in complete_subtrees(leaves)]) for leaves in ranges]


def _root_in(subtree: Range, tiles: Tiles) -> bytes:
    place, first, count = place_of(subtree)
    return subtree_root(edge_hashes(place, first + count, tiles)[first:])
