"""The tree and its proofs, against the RFC's definition, known vectors and an independent implementation."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import (  # type: ignore[import-untyped]
    InmemoryTree,
    verify_consistency,
    verify_inclusion,
)
from pymerkle.hasher import MerkleHasher  # type: ignore[import-untyped]

from application.audit.merkle import (
    EMPTY_ROOT,
    consistency_path,
    inclusion_path,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
)
from application.audit.tiles import DamagedTree, Place, Tiles, Tree, edge_places, places_for, roots_of

VECTORS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
"""Roots over the first entries of Certificate Transparency's test data."""

ENTRIES = [
    bytes.fromhex(entry)
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]

SIZE = 66_000
"""Enough for three levels of tiles."""


def leaf(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def stored(sizes: list[int]) -> tuple[Tree, dict[Place, bytes], dict[int, bytes]]:
    """A tree that was saved at each of the sizes: itself, its tiles, and its roots by size."""
    tree, tiles, roots = Tree(), dict[Place, bytes](), {0: EMPTY_ROOT}
    for begin, end in pairwise([0, *sizes]):
        tiles |= tree.add([leaf(b"%d" % number) for number in range(begin, end)])
        tiles |= tree.edge()
        roots[end] = tree.root()
    return tree, tiles, roots


@pytest.fixture(scope="module")
def large() -> tuple[Tree, Tiles, dict[int, bytes]]:
    return stored([1, 2, 255, 256, 257, 300, 511, 512, 1000, 40_000, 65_535, 65_536, 65_793, SIZE])


@pytest.fixture(scope="module")
def independent() -> InmemoryTree:
    tree = InmemoryTree(algorithm="sha256")
    for number in range(2_000):
        tree.append_entry(b"%d" % number)
    return tree


@pytest.mark.parametrize("size", VECTORS)
def test_the_roots_are_those_of_certificate_transparency(size: int) -> None:
    tree = Tree()
    tree.add([leaf(entry) for entry in ENTRIES[:size]])
    assert tree.root().hex() == VECTORS[size]


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 2_000), min_size=1, max_size=5, unique=True).map(sorted))
def test_every_tree_has_the_root_of_the_independent_one(sizes: list[int], independent: InmemoryTree) -> None:
    _, tiles, roots = stored(sizes)
    for size in sizes:
        assert roots[size] == independent.get_root(size)
        assert Tree.of(size, tiles).root() == roots[size]


@given(index=st.integers(0, 1_999), size=st.integers(1, 2_000))
def test_the_independent_verifier_takes_our_inclusion_proofs(
    index: int, size: int, independent: InmemoryTree
) -> None:
    index %= size
    theirs = independent.prove_inclusion(index + 1, size)
    _, tiles, _ = stored([size])
    path = roots_of(inclusion_path(index, size), tiles)
    assert path == [bytes(step) for step in theirs.path[1:]]
    verify_inclusion(MerkleHasher("sha256").hash_buff(b"%d" % index), independent.get_root(size), theirs)
    assert is_included(leaf(b"%d" % index), index, size, path, independent.get_root(size))


@given(old=st.integers(1, 2_000), new=st.integers(1, 2_000))
def test_consistency_proofs_hold_for_the_roots_of_either_tree(
    old: int, new: int, independent: InmemoryTree
) -> None:
    old, new = sorted((old, new))
    _, tiles, roots = stored(sorted({old, new}))
    path = roots_of(consistency_path(old, new), tiles)
    assert is_consistent(old, new, path, independent.get_root(old), independent.get_root(new))
    verify_consistency(roots[old], roots[new], independent.prove_consistency(old, new))


def test_leaves_of_every_level_are_proved_in_every_larger_tree(
    large: tuple[Tree, Tiles, dict[int, bytes]],
) -> None:
    _, tiles, roots = large
    for size in roots:
        for index in {0, 1, 254, 255, 256, 511, 39_999, 65_535, 65_536, 65_999, size - 1} & {*range(size)}:
            path = roots_of(inclusion_path(index, size), tiles)
            assert is_included(leaf(b"%d" % index), index, size, path, roots[size])
            assert not is_included(leaf(b"x"), index, size, path, roots[size])


def test_every_two_sizes_are_proved_consistent(large: tuple[Tree, Tiles, dict[int, bytes]]) -> None:
    _, tiles, roots = large
    sizes = sorted(roots)[1:]
    for old in sizes:
        for new in sizes:
            if old <= new:
                path = roots_of(consistency_path(old, new), tiles)
                assert is_consistent(old, new, path, roots[old], roots[new])
                assert not is_consistent(old, new, path, roots[old], EMPTY_ROOT)


@given(st.integers(1, 300), st.integers(0, 299), st.integers(0, 8), st.binary(min_size=32, max_size=32))
def test_a_proof_that_was_changed_proves_nothing(size: int, index: int, at: int, other: bytes) -> None:
    index %= size
    _, tiles, roots = stored([size])
    path = roots_of(inclusion_path(index, size), tiles)
    found = leaf(b"%d" % index)
    assert not is_included(found, index, size, [*path, other], roots[size])
    assert not is_included(found, size, size, path, roots[size])
    if path:
        assert not is_included(found, index, size, path[:-1], roots[size])
        changed = [*path]
        changed[at % len(path)] = other
        assert not is_included(found, index, size, changed, roots[size])


def test_places_name_just_what_a_proof_needs(large: tuple[Tree, Tiles, dict[int, bytes]]) -> None:
    _, tiles, roots = large
    ranges = inclusion_path(700, SIZE)
    needed = {place: tiles[place] for place in places_for(ranges)}
    assert len(needed) <= 6
    assert is_included(leaf(b"700"), 700, SIZE, roots_of(ranges, needed), roots[SIZE])


def test_a_tile_that_is_missing_or_short_is_named(large: tuple[Tree, Tiles, dict[int, bytes]]) -> None:
    _, tiles, _ = large
    edge = dict(edge_places(SIZE))
    short = {place: tile[: edge[place] * 32 - 1] if place in edge else tile for place, tile in tiles.items()}
    for damaged in ({}, short):
        with pytest.raises(DamagedTree):
            Tree.of(SIZE, damaged)


def test_a_leaf_is_of_every_byte_and_of_its_place() -> None:
    event = (7, 2, b"execution-a", b"execution.requested", b'{"a":1}', b'{"b":2}')
    others = [
        (8, 2, b"execution-a", b"execution.requested", b'{"a":1}', b'{"b":2}'),
        (7, 3, b"execution-a", b"execution.requested", b'{"a":1}', b'{"b":2}'),
        (7, 2, b"execution-", b"aexecution.requested", b'{"a":1}', b'{"b":2}'),
        (7, 2, b"execution-a", b"execution.requested", b'{"a":1', b'}{"b":2}'),
        (7, 2, b"execution-a", b"execution.requested", b'{"a":2}', b'{"b":2}'),
        (7, 2, b"execution-a", b"execution.requested", b'{"a":1}', b'{"b":1}'),
    ]
    assert len({leaf_hash(event), *map(leaf_hash, others)}) == 7
    assert leaf_hash(event) == leaf(b'7 2 11 19 7 7\nexecution-aexecution.requested{"a":1}{"b":2}')
    assert node_hash(b"a", b"b") == sha256(b"\x01ab").digest()
