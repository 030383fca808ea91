"""Operations -> layers one after another, with branches side by side: the graph as a Net nests it.

A value that every way from the image to a later one passes is its dominator. Between a join and the nearest dominator
of all that it joins lie its branches; where these share nothing, they are a Parallel. Where they do share values, as in
Res2Net, the map goes on with all values that are still needed, put together along its channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..architecture import layers as L
from ..architecture.layers import Layer
from ..errors import NetError
from ..language import say
from .record import Operation, Value
from .tracing import TracedModule


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of the net: a layer with its tensors, or branches that are joined.

    branches  of a join, each a list of parts one after another
    path      of the module that it comes from
    """

    layer: Layer | None
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    join: str = ""
    branches: tuple[tuple[Part, ...], ...] = ()


class Graph:
    """Who makes a value, who reads it, and its nearest dominator."""

    def __init__(self, traced: TracedModule) -> None:
        self.image = traced.image
        self.same: dict[Value, Value] = {}
        self.makers: dict[Value, Operation] = {}
        self.inputs: dict[Value, list[Value]] = {self.image: []}
        self.dominator: dict[Value, Value | None] = {self.image: None}
        self.depth: dict[Value, int] = {self.image: 0}
        for operation in traced.operations:
            sources = [self.same.get(one, one) for one in operation.inputs]
            if isinstance(operation.layer, L.Identity):
                self.same[operation.output] = sources[0]
                continue
            made = operation.output
            self.makers[made], self.inputs[made] = operation, sources
            nearest = sources[0]
            for other in sources[1:]:
                nearest = self.find_common(nearest, other)
            self.dominator[made], self.depth[made] = nearest, self.depth[nearest] + 1
        self.output = self.same.get(traced.output, traced.output)
        self.order = {value: k for k, value in enumerate(self.inputs)}
        self.readers: dict[Value, list[Value]] = {value: [] for value in self.inputs}
        needed = self.find_between(self.image, [self.output])
        for value in needed:
            for source in self.inputs[value]:
                self.readers[source].append(value)

    def find_common(self, a: Value, b: Value) -> Value:
        """The nearest value that dominates both, or is one of them."""
        while a is not b:
            if self.depth[a] >= self.depth[b]:
                a = self.dominator[a]  # type: ignore[assignment]
            else:
                b = self.dominator[b]  # type: ignore[assignment]
        return a

    def find_child(self, ancestor: Value, value: Value) -> Value:
        """Of the values that `ancestor` dominates at once the one over `value`; itself where it is `ancestor`."""
        while value is not ancestor and self.dominator[value] is not ancestor:
            value = self.dominator[value]  # type: ignore[assignment]
        return value

    def find_between(self, first: Value, last: Iterable[Value]) -> set[Value]:
        """All that lies on the ways from `first` to any of `last`, these included and `first` not."""
        found: set[Value] = set()
        todo = [value for value in last if value is not first]
        while todo:
            value = todo.pop()
            if value not in found:
                found.add(value)
                todo += [one for one in self.inputs[value] if one is not first]
        return found


def build_parts(traced: TracedModule) -> list[Part]:
    """The parts of the whole module, from its image to its output. Raises NetError where they cannot be nested."""
    graph = Graph(traced)
    return build_chain(graph, graph.image, graph.output)


def build_chain(graph: Graph, first: Value, last: Value) -> list[Part]:
    """The parts from `first`, which dominates `last`, to `last`."""
    parts: list[list[Part]] = []
    while last is not first:
        sources = graph.inputs[last]
        parts.append([make_part(graph.makers[last])] if len(sources) == 1 else build_join(graph, last))
        last = graph.dominator[last]  # type: ignore[assignment]
    return [part for some in reversed(parts) for part in some]


def make_part(operation: Operation) -> Part:
    return Part(operation.layer, operation.tensors, split_path(operation.path))


def split_path(path: str) -> tuple[str, ...]:
    return tuple(path.split(".")) if path else ()


def build_join(graph: Graph, joined: Value) -> list[Part]:
    """From the nearest dominator of what is joined to the joined map."""
    first = graph.dominator[joined]
    assert first is not None
    operation, sources = graph.makers[joined], graph.inputs[joined]
    branches = group_branches(graph, first, sources, operation.join)
    if branches is None:
        return carry_values(graph, first, joined)
    return [build_parallel(graph, first, branches, operation)]


def group_branches(graph: Graph, first: Value, sources: Sequence[Value], join: str) -> list[list[Value]] | None:
    """The joined values by the branch that they lie in; None where branches share values, or would change places."""
    groups: list[tuple[Value, list[Value]]] = []
    for source in sources:
        child = graph.find_child(first, source)
        known = groups[-1:] if join == "concat" else groups
        own = next((values for branch, values in known if branch is child and child is not first), None)
        if own is None:
            groups.append((child, [source]))
        else:
            own.append(source)
    children = [child for child, _ in groups if child is not first]
    if len(set(children)) < len(children):
        return None
    seen: set[Value] = set()
    for _, values in groups:
        here = graph.find_between(first, values)
        if here & seen:
            return None
        seen |= here
    return [values for _, values in groups]


def build_parallel(graph: Graph, first: Value, groups: Sequence[Sequence[Value]], operation: Operation) -> Part:
    branches = []
    for values in groups:
        if len(values) == 1:
            branches.append(tuple(build_chain(graph, first, values[0])))
            continue
        nearest = values[0]
        for other in values[1:]:
            nearest = graph.find_common(nearest, other)
        inner = group_branches(graph, nearest, values, operation.join)
        if inner is None:
            raise NetError(operation.path or say("the module"), say("branches of a join share values within a branch"))
        rest = build_parallel(graph, nearest, inner, operation)
        branches.append((*build_chain(graph, first, nearest), rest))
    return join_parts(operation.join, branches, split_path(operation.path))


def join_parts(join: str, branches: Sequence[Sequence[Part]], path: tuple[str, ...]) -> Part:
    return Part(None, {}, path, join, tuple(map(tuple, branches)))


# Branches that share values.


@dataclass(frozen=True, eq=False)
class Unit:
    """A value of such a stretch, and the parts that make it of others: of one value, or a join of several."""

    value: Value
    sources: tuple[Value, ...]
    parts: tuple[Part, ...]
    join: str = ""
    path: tuple[str, ...] = ()


def carry_values(graph: Graph, first: Value, last: Value) -> list[Part]:
    """The parts from `first` to `last`, the map between them holding all values that are still to be read."""
    todo = list_units(graph, first, last)
    state, parts = [first], list[Part]()
    while todo:
        step, kept = choose_step(state, todo)
        todo = [unit for unit in todo if unit not in step]
        branches = [take_run(state, run) for run in split_runs(state, kept)]
        made = [make_of_state(state, unit) for unit in step]
        together = [*branches, *made]
        parts += together[0] if len(together) == 1 else [join_parts("concat", together, step[0].path)]
        state = [*kept, *(unit.value for unit in step)]
    return parts


def choose_step(state: Sequence[Value], todo: Sequence[Unit]) -> tuple[list[Unit], list[Value]]:
    """The next units to be computed at once, and which values go on beside what they give: all of one size.

    The first unit that leaves it so by itself; where none does, as many of those that can be computed as it takes.
    """
    ready = [unit for unit in todo if set(unit.sources) <= set(state)]
    for step in (*([unit] for unit in ready), *(ready[:count] for count in range(2, len(ready) + 1))):
        later = {source for unit in todo if unit not in step for source in unit.sources}
        kept = [value for value in state if value in later]
        if len({value.shape[1:] for value in [*kept, *(unit.value for unit in step)]}) < 2:
            return step, kept
    raise refuse_sizes([*state, *(unit.value for unit in ready)], ready[0])


def list_units(graph: Graph, first: Value, last: Value) -> list[Unit]:
    """What lies between, in its order; a join whose branches nobody else reads is one unit."""
    inside = graph.find_between(first, [last])
    swallowed: set[Value] = set()
    units: list[Unit] = []
    for value in sorted(inside, key=graph.order.__getitem__, reverse=True):
        if value in swallowed:
            continue
        operation, sources = graph.makers[value], graph.inputs[value]
        path = split_path(operation.path)
        if len(sources) == 1:
            units.append(Unit(value, (sources[0],), (make_part(operation),), "", path))
            continue
        nearest = graph.dominator[value]
        assert nearest is not None
        between = graph.find_between(nearest, sources) - {value}
        closed = all(reader in between or reader is value for one in between for reader in graph.readers[one])
        if value is not last and closed:
            swallowed |= between
            units.append(Unit(value, (nearest,), tuple(build_join(graph, value)), "", path))
        else:
            units.append(Unit(value, tuple(sources), (), operation.join, path))
    return units[::-1]


def make_of_state(state: Sequence[Value], unit: Unit) -> list[Part]:
    """A unit's value, made of the map that holds the values of `state`."""
    if not unit.join:
        return [*take_run(state, [unit.sources[0]]), *unit.parts]
    if unit.join == "concat":
        runs = split_runs(state, unit.sources)
        if len(runs) == 1:
            return take_run(state, runs[0]) or [Part(L.Identity())]
        return [join_parts("concat", [take_run(state, run) for run in runs], unit.path)]
    return [join_parts(unit.join, [take_run(state, [source]) for source in unit.sources], unit.path)]


def split_runs(state: Sequence[Value], wanted: Sequence[Value]) -> list[list[Value]]:
    """The wanted values in runs that lie one behind the other in the map."""
    place = {value: k for k, value in enumerate(state)}
    runs: list[list[Value]] = []
    for value in wanted:
        if runs and place[value] == place[runs[-1][-1]] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return runs


def take_run(state: Sequence[Value], run: Sequence[Value]) -> list[Part]:
    """The channels of a run of values; nothing to do where they are the whole map."""
    if len(run) == len(state):
        return []
    before = sum(value.shape[0] for value in state[: state.index(run[0])])
    return [Part(L.SliceChannels(before, sum(value.shape[0] for value in run)))]


def refuse_sizes(values: Sequence[Value], unit: Unit) -> NetError:
    """The error where values that are to lie in one map differ in height and width."""
    where = ".".join(unit.path) or say("the module")
    sizes = ", ".join(sorted({"×".join(map(str, value.shape)) for value in values}))
    what = say("branches that share values of different sizes cannot be nested")
    return NetError(where, what, got=sizes, rule=say("one height and width"))
