"""Pure walks over a workflow's steps and tasks: cycles, ancestors, last nodes.

Called by `domain.checks` when a document is saved, and by the execution's `decide` while it runs. A graph is
a mapping of each node to the nodes it comes after; its order is the order in which nodes were written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Graph = Mapping[str, tuple[str, ...]]
"""Node -> its predecessors."""


def cycle(graph: Graph) -> tuple[str, ...]:
    """The nodes that can never become ready because they wait for each other; () for an acyclic graph.

    Predecessors that the graph lacks are taken as done. O(V * depth).
    """
    done: set[str] = {name for before in graph.values() for name in before if name not in graph}
    left = dict(graph)
    while ready := [node for node, before in left.items() if done.issuperset(before)]:
        done.update(ready)
        for node in ready:
            del left[node]
    return tuple(left)


def ancestors(graph: Graph, node: str) -> frozenset[str]:
    """Every node that must be done before `node`, near or far. Safe on cycles."""
    found: set[str] = set()
    waiting = list(graph.get(node, ()))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(graph.get(name, ()))
    return frozenset(found)


def last_of(graph: Graph, nodes: Iterable[str]) -> str | None:
    """The last, in graph order, of the given nodes that none of the others comes after; None of none."""
    chosen = set(nodes)
    followed = {before for node in chosen for before in ancestors(graph, node)}
    return next((node for node in reversed(list(graph)) if node in chosen - followed), None)
