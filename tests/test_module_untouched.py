"""A module that is summarised is as it was, in however deep a list, and may be at work in another thread meanwhile."""

from __future__ import annotations

import copy
import functools
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from striate.summaries.module_copy import copy_module, list_modules, make_meta, walk_modules  # noqa: E402
from striate.summaries.module_summary import ModuleError, summarise_module  # noqa: E402


@dataclass
class Tally:
    count: int = 0
    seen: list = field(default_factory=list)
    inner: dict = field(default_factory=lambda: {"deep": [Counter()]})

    def add(self, shape):
        self.count += 1
        self.seen.append(shape)
        self.inner["deep"][0][shape] += 1


class Slotted:
    __slots__ = ("count", "more")

    def __init__(self):
        self.count, self.more = 0, deque([1], maxlen=3)

    def __eq__(self, other):
        return (self.count, self.more, self.more.maxlen) == (other.count, other.more, other.more.maxlen)


class History(OrderedDict):
    """A container of one's own, with an attribute."""


def keepers() -> dict:
    """Things that a forward pass could write to, each with a function that does."""
    tally, method = Tally(), Tally()
    captured: list = []
    history = History(a=1)
    history.note = [1]
    return {
        "list in a list": ([[1, [2]]], lambda it: it[0][1].append(3)),
        "deque": (deque([1, 2], maxlen=2), lambda it: it.append(3)),
        "counter": (Counter("aab"), lambda it: it.update("b")),
        "defaultdict": (defaultdict(list, a=[1]), lambda it: it["b"].append(2)),
        "dict of sets": ({"a": {1}}, lambda it: it["a"].add(2)),
        "tuple of lists": (([1], 2), lambda it: it[0].append(2)),
        "object": (tally, lambda it: it.add((1, 2))),
        "object in a deque": (deque([Tally()]), lambda it: it[0].add((1, 2))),
        "object with slots": (Slotted(), lambda it: (setattr(it, "count", 5), it.more.append(2))),
        "array": (np.zeros(3), lambda it: it.__setitem__(0, 1.0)),
        "array in a dict": ({"a": np.zeros(3)}, lambda it: it["a"].__iadd__(1)),
        "method": (method.add, lambda it: it((1, 2))),
        "partial": (functools.partial(captured.append, 1), lambda it: it()),
        "container of one's own": (history, lambda it: (it.update(b=2), it.note.append(2))),
        "bytes": (bytearray(b"ab"), lambda it: it.extend(b"c")),
    }


class Keeping(nn.Module):
    def __init__(self, thing, write, fails):
        super().__init__()
        self.fc, self.thing, self.write, self.fails = nn.Linear(8, 2), thing, write, fails
        self.deep = nn.ModuleDict({"a": nn.Sequential(nn.ReLU())})
        self.deep["a"].thing = thing

    def forward(self, x):
        self.write(self.thing)
        self.write(self.deep["a"].thing)
        return self.fc(x[:, :7] if self.fails else x)


def portray(thing):
    """What is in it now, detached from it."""
    if hasattr(thing, "__self__"):
        return portray(thing.__self__)
    if isinstance(thing, functools.partial):
        return portray(thing.func)
    if isinstance(thing, np.ndarray):
        return thing.tolist()
    if isinstance(thing, dict):
        return [(key, portray(value)) for key, value in thing.items()], copy.deepcopy(getattr(thing, "note", None))
    return copy.deepcopy(thing)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", keepers())
def test_what_a_forward_pass_writes_to_is_as_before(name, fails):
    thing, write = keepers()[name]
    module = Keeping(thing, write, fails)
    before = portray(thing)
    if fails:
        with pytest.raises(ModuleError, match="in_features"):
            summarise_module(module, (8,))
    else:
        assert summarise_module(module, (8,)).macs == 16
    assert portray(thing) == before
    assert module.thing is thing and module.deep["a"].thing is thing
    module(torch.zeros(1, 8)) if not fails else None
    assert fails or portray(thing) != before, "the forward pass does write"


class Hooked(nn.Module):
    """Its hooks hold the module and a list in their closures, as those of feature extractors do."""

    def __init__(self):
        super().__init__()
        self.conv, self.seen = nn.Conv2d(3, 4, 3), []
        outside: list = []
        self.outside = outside
        self.conv.register_forward_hook(lambda module, args, output: self.seen.append(output))
        self.conv.register_forward_pre_hook(lambda module, args: outside.append(len(self.seen)))
        self.again = lambda x: self.conv(x)

    def forward(self, x):
        return self.conv(x) + self.again(x)


def test_hooks_and_functions_that_hold_the_module_write_to_its_double():
    module = Hooked()
    s = summarise_module(module, (3, 5, 5))
    assert [row.label for row in s.rows if row.depth == 0] == ["Conv 4@3×3", "Conv 4@3×3, again"]
    assert (s.params, s.macs) == (112, 2 * 4 * 27 * 9)
    assert module.seen == module.outside == []
    assert len(module.conv._forward_hooks) == len(module.conv._forward_pre_hooks) == 1


class Growing(nn.Module):
    """Puts a larger buffer in the place of its own, as ConViT does with its relative positions."""

    def __init__(self):
        super().__init__()
        self.register_buffer("places", torch.zeros(1))

    def forward(self, x):
        self.places = torch.zeros(1000)
        return x


def test_buffers_are_counted_as_they_are_before_the_pass():
    module = Growing()
    assert summarise_module(module, (3,)).buffers == 1 == module.places.numel()


class Drawing(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, x):
        return x + torch.rand(8) + torch.rand(8, generator=self.generator)


def test_no_random_number_is_used_up():
    module = Drawing()
    before, own = torch.get_rng_state(), module.generator.get_state()
    assert summarise_module(module, (8,)).output == (8,)
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(module.generator.get_state(), own)


class Closing:
    """A handle that is closed when it goes."""

    closed = 0

    def __del__(self):
        Closing.closed += 1


def test_what_cannot_be_copied_or_must_not_is_shared():
    module = Keeping([threading.Lock(), Closing(), (n for n in range(3))], len, False)
    module.file = open(__file__)  # noqa: SIM115
    try:
        assert summarise_module(module, (8,)).macs == 16
    finally:
        module.file.close()
    assert Closing.closed == 0


def test_a_thread_that_works_with_the_module_meanwhile_works_on():
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    for p in module.parameters():
        nn.init.constant_(p, 0.01)
    x = torch.ones(2, 3, 8, 8)
    with torch.no_grad():
        expected = module(x)
    stop, failed, passes = threading.Event(), [], []

    def work():
        try:
            while not stop.is_set():
                with torch.no_grad():
                    assert module.training and torch.equal(module(x), expected)
                passes.append(1)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        n = 0
        while not failed and (n < 20 or len(passes) < 20):
            assert summarise_module(module, (3, 8, 8)).output == (5,)
            n += 1
    finally:
        stop.set()
        thread.join()
    assert failed == [] and len(passes) >= 20


def test_the_double_has_the_structure_and_no_memory():
    shared = nn.Linear(8, 8)
    module = nn.Sequential(shared, nn.Sequential(shared, nn.BatchNorm1d(8)))
    module[1].above = module
    double = copy_module(module, make_meta)
    assert [(path, type(m)) for path, m in walk_modules(double)] == [
        (path, type(m)) for path, m in walk_modules(module)
    ]
    assert double[0] is double[1][0] and double[1].above is double
    assert not {id(m) for m in list_modules(double)} & {id(m) for m in list_modules(module)}
    theirs, ours = dict(module.named_parameters()), dict(double.named_parameters())
    assert {k: (p.shape, p.requires_grad) for k, p in ours.items()} == {
        k: (p.shape, p.requires_grad) for k, p in theirs.items()
    }
    assert {t.device.type for t in (*double.parameters(), *double.buffers())} == {"meta"}
    assert module.training and not double.training and not double[1][1].training


@pytest.mark.parametrize(
    "wrap",
    [
        torch.jit.script,
        lambda m: torch.jit.trace(m, torch.zeros(1, 3, 8, 8)),
        torch.fx.symbolic_trace,
        torch.compile,
        lambda m: torch.export.export(m, (torch.zeros(1, 3, 8, 8),)).module(),
        nn.DataParallel,
    ],
    ids=["script", "trace", "fx", "compile", "export", "parallel"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_traced_compiled_and_exported_modules_have_the_account_of_what_they_are_of(wrap):
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    module = wrap(plain)
    hooks = len(module._forward_hooks), len(module._forward_pre_hooks)
    s = summarise_module(module, (3, 8, 8))
    assert (s.macs, s.params, s.output) == (4 * 27 * 36, 112, (4, 6, 6))
    assert hooks == (len(module._forward_hooks), len(module._forward_pre_hooks))


class Trying(nn.Module):
    """Goes on where a layer of it fails."""

    def __init__(self):
        super().__init__()
        self.wide, self.narrow = nn.Sequential(nn.Linear(9, 2)), nn.Linear(8, 2)

    def forward(self, x):
        try:
            return self.wide(x)
        except RuntimeError:
            return self.narrow(x)


def test_a_failure_that_the_module_itself_handles_is_none():
    s = summarise_module(nn.Sequential(Trying(), nn.Linear(2, 3)), (8,))
    assert (s.output, s.macs) == ((3,), 16 + 6)


def test_a_forward_of_its_own_takes_a_module_its_record():
    module = nn.Sequential(nn.ReLU())
    module[0].forward = lambda x: x.flatten(1)
    s = summarise_module(module, (3, 4))
    assert (s.rows[0].layer, s.rows[0].label, s.output) == (None, "ReLU", (12,))
