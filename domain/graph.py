"""Pure walks over a workflow's steps and tasks: cycles, ancestors, what is ready next.

Called by `domain.checks` when a document is saved, and by the execution's `decide` while it runs. A graph is
a mapping of each node to the nodes it comes after; its order is the order in which nodes were written.
"""

from __future__ import annotations

from collections.abc import Mapping

from domain.errors import GraphError

Graph = Mapping[str, tuple[str, ...]]
"""Node -> its predecessors."""


def ready_nodes(graph: Graph, done: frozenset[str], begun: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Nodes whose every predecessor is done and that are neither done nor begun, in graph order.

    O(V + E); Kahn, CACM 5(11), 1962. Raises `GraphError` if `done` or `begun` names a node that the graph
    lacks.
    """
    if unknown := (done | begun) - graph.keys():
        raise GraphError(f"the graph has no step {sorted(unknown)[0]!r}")
    settled = done | begun
    return tuple(node for node, before in graph.items() if node not in settled and done.issuperset(before))


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


def last_node(graph: Graph) -> str:
    """The last node, in graph order, that no other comes after: the one whose output is the whole's."""
    followed = {name for before in graph.values() for name in before}
    return [node for node in graph if node not in followed][-1]
