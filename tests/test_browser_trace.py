"""A value explained in a page has the record that Python gives it: the same operands, texts and sums that add up."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from decimal import Decimal
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.special import softmax

import striate
from striate.architecture import layers as L
from striate.architecture import zoo
from striate.architecture.abilities import EXPLAIN, FOLLOW
from striate.architecture.layers import Sequence
from striate.architecture.net import Net
from striate.browser.joining import list_korean_texts
from striate.engines.model_file import Preprocess
from striate.errors import StriateError
from striate.inside.trace import check_place
from striate.inside.trace_place import Scene
from striate.inside.trace_record import format_address
from striate.korean import choose_particle
from striate.language import say
from striate.model.model import Model
from striate.studio.look import Lens, Look

from .browser_nets import ENGINE, HERE, Case, pack_cases
from .random_nets import tensors_for
from .test_browser_engine import draw_cases
from .test_language import PARTICLES

NUMBER = re.compile(r"\d+(\.\d+)?(e[-+]\d+)?")

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


MEAN, STD = 0.3, 0.2
BY = "the page's engine, float32, whole maps"


def draw_image(net: Net, seed: int) -> np.ndarray:
    """An image of bytes as it reaches the net."""
    return (np.random.default_rng(seed).integers(0, 256, net.input) / 255 - MEAN) / STD


class Traced(NamedTuple):
    """What the engine said of a case's addresses, {"error": …} where it refused, and its maps by path."""

    records: list[Any]
    maps: dict[str, np.ndarray]


def trace_under_node(cases: list[Case], addresses: list[list[str]], folder: Path, language: str = "en") -> list[Traced]:
    listed, numbers = pack_cases(cases)
    for item, case, at in zip(listed, cases, addresses, strict=True):
        item |= {"texts": {step.path: repr(step.layer) for step in case.net.steps}, "at": at}
        item["pixels"] = {"mean": [MEAN], "std": [STD]}
    (folder / "nets.json").write_text(json.dumps(listed), encoding="utf-8")
    (folder / "nets.bin").write_bytes(numbers)
    (folder / "korean.json").write_text(json.dumps(list_korean_texts()), encoding="utf-8")
    command = ["node", str(HERE / "run_traces.mjs"), str(ENGINE), str(folder), language]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    values, place, made = np.frombuffer((folder / "maps.bin").read_bytes(), np.float32), 0, []
    for item in json.loads((folder / "traces.json").read_text(encoding="utf-8")):
        maps = {}
        for path, shape in item["shapes"]:
            maps[path] = values[place : place + prod(shape)].reshape(shape)
            place += prod(shape)
        made.append(Traced(item["records"], maps))
    return made


def look_at(case: Case, maps: dict[str, np.ndarray]) -> Look:
    """The same net in Python with the engine's own maps, so that all that can differ is the account of a value."""
    net = case.net
    tensors = {name: np.float64(np.float32(value)) for name, value in case.tensors.items()}
    prepared = Preprocess(net.input[1:], "pad", (MEAN,) * net.input[0], (STD,) * net.input[0])
    lens = Lens(Model(net, tensors, classes=[str(k) for k in range(net.classes)], preprocess=prepared))
    last = maps[net.steps[-1].path.split(".")[0]].astype(np.float64)
    own = {"image": np.float32(case.x), "probability": softmax(last)} | maps
    return Look(lens, None, Scene(lens.probable[0], tensors, own), "")  # type: ignore[arg-type]


def draw_address(net: Net, draw: np.random.Generator) -> str:
    """Of any map, the image's and the probabilities' among them."""
    steps = [step for step in net.steps if not step.side and not isinstance(step.layer, L.Sequence | L.SideHead)]
    shapes = {"image": net.input, "probability": net.output} | {step.path: step.y for step in steps}
    path = list(shapes)[draw.integers(len(shapes))]
    return format_address(path, tuple(int(draw.integers(n)) for n in shapes[path]))


def compare(ours: Any, theirs: Any, scale: float, where: str) -> None:
    """Equal in every text but for its numbers, in every address and order; numbers to 1e-6 of what is added up."""
    if isinstance(theirs, dict):
        assert set(ours) == set(theirs), where
        for key in theirs:
            if key not in ("tolerance", "checked_by", "followed"):
                compare(ours[key], theirs[key], scale, f"{where}.{key}")
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            compare(a, b, scale, f"{where}[{i}]")
    elif isinstance(theirs, float) and not isinstance(ours, bool):
        assert ours == pytest.approx(theirs, abs=1e-6 * scale), where
    elif isinstance(theirs, str) and where.endswith((".text", ".note", ".shown")):
        assert NUMBER.sub("#", ours).replace("-", "") == NUMBER.sub("#", theirs).replace("-", ""), where
        if where.endswith(".shown"):
            assert float(ours) == pytest.approx(float(theirs), abs=1e-6 * scale), where
    else:
        assert ours == theirs, where


def need_sums_as_shown(record: dict[str, Any]) -> None:
    if record["op"] == "sum" and record["groups"]:
        for group in record["groups"]:
            assert sum(Decimal(t["shown"]) for t in group["terms"]) == Decimal(group["shown"]), record["address"]
        if not record["steps"]:
            assert sum(Decimal(group["shown"]) for group in record["groups"]) == Decimal(record["shown"])
    for step in record["steps"]:
        if step["exact"]:
            assert sum(Decimal(part["shown"]) for part in step["parts"]) == Decimal(step["shown"])


def find_scale(record: dict[str, Any]) -> float:
    numbers = [abs(term["value"]) for group in record["groups"] for term in group["terms"]]
    steps = [abs(part["value"]) for step in record["steps"] for part in step["parts"]]
    return max([1.0, sum(numbers), *steps])


def need_records_of_python(cases: list[Case], addresses: list[list[str]], folder: Path, language: str = "en") -> None:
    found = trace_under_node(cases, addresses, folder, language)
    for case, at, (records, maps) in zip(cases, addresses, found, strict=True):
        look = look_at(case, maps)
        for address, record in zip(at, records, strict=True):
            assert "error" not in record, (case.net, address, record)
            with striate.use_language(language):
                want = look.found(address)
                assert record["checked_by"] == say("the image" if address.startswith("image[") else BY)
            compare(record, want, find_scale(want), f"{address} of {case.net!r}")
            need_sums_as_shown(record)


@pytest.mark.parametrize("examples", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_any_value_of_any_net_is_explained_as_python_explains_it(examples, tmp_path):
    drawn, draw = draw_cases(examples), np.random.default_rng(0)
    cases = [case._replace(x=draw_image(case.net, seed)) for seed, case in enumerate(drawn)]
    addresses = [[draw_address(case.net, draw) for _ in range(3)] for case in cases]
    need_records_of_python(cases, addresses, tmp_path)


# Of the records whose fields have no examples.
FORMS = {
    L.Conv: [
        {"filters": 6, "kernel": 3},
        {"filters": 4, "kernel": (2, 3), "stride": (2, 1), "padding": (1, 0, 2, 1), "groups": 2, "bias": False},
        {"filters": 4, "kernel": 3, "dilation": 2, "padding": "same", "groups": 4},
    ],
    L.MaxPool: [{"kernel": 2}, {"kernel": 3, "stride": 2, "padding": 1, "ceil": True}, {"kernel": 2, "dilation": 2}],
    L.AvgPool: [{"kernel": 2}, {"kernel": 3, "padding": "same"}, {"kernel": 3, "padding": 1, "count_padding": True}],
    L.Dense: [{"units": 5}, {"units": 2, "bias": False}],
}


def list_forms(record: type[L.Layer]) -> list[dict[str, Any]]:
    """The fields of layers of this kind: each field at each of its examples."""
    first = {name: values[0] for name, values in record.EXAMPLES.items()}
    forms = [first | {name: value} for name, values in record.EXAMPLES.items() for value in values]
    return FORMS.get(record) or forms or [{}]


def make_net_of(record: type[L.Layer], fields: dict[str, Any]) -> Net | None:
    """A small net with a layer of this kind in it; None where it does not fit."""
    layer = record(**fields)
    try:
        flat = [L.Flatten()] if record is L.Dense else []
        body = [*flat, layer] if flat or len(layer.out((4, 6, 6))) == 1 else [layer, L.Flatten()]
        return Net((4, 6, 6), [L.Conv(4, 3, padding="same"), *body, L.Dense(3)])
    except StriateError:
        return None


def list_record_cases() -> tuple[list[Case], list[list[str]]]:
    """Each field of each record at each of its examples, and addresses in them."""
    cases, addresses, draw, seen = [], [], np.random.default_rng(1), {L.Parallel}
    for record in set(EXPLAIN.filled()) - seen:
        for net in filter(None, (make_net_of(record, fields) for fields in list_forms(record))):
            seen.add(record)
            step = [step for step in net.steps[1:] if type(step.layer) is record][0]
            cases.append(Case(net, tensors_for(net, len(cases)), draw_image(net, len(cases))))
            addresses.append(
                [format_address(step.path, tuple(int(draw.integers(n)) for n in step.y)) for _ in range(3)]
            )
    for join in ("concat", "add", "multiply"):
        net = Net(
            (4, 6, 6), [L.Parallel(Sequence(L.Conv(4, 1)), Sequence(L.ReLU()), join=join), L.Flatten(), L.Dense(3)]
        )
        cases.append(Case(net, tensors_for(net), draw_image(net, 0)))
        addresses.append(["parallel1[2,3,3]", "parallel1[0,5,0]", "image[1,2,3]"])
    assert seen == set(EXPLAIN.filled())
    return cases, addresses


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_record_is_explained_in_each_of_its_forms_and_in_both_languages(language, tmp_path):
    need_records_of_python(*list_record_cases(), tmp_path, language)


def test_a_particle_is_the_one_that_python_chooses():
    draw = np.random.default_rng(0)
    signs = "abcdefghiklmnoprstuvyz" + "LMNRTX0123456789.,%×²α)(]['” " + "가각갈감곱층필터커널맵"
    words = ["".join(draw.choice(list(signs), draw.integers(0, 9))) for _ in range(3000)]
    words += [word for word, _ in PARTICLES]
    pairs = [("을", "를"), ("으로", "로")]
    code = f"""import {{ chooseParticle }} from "{ENGINE}/saying.js";
    const [words, pairs] = JSON.parse(await new Response(process.stdin).text());
    console.log(JSON.stringify(words.map((word) => pairs.map((pair) => chooseParticle(word, ...pair)))));"""
    done = subprocess.run(["node", "--input-type=module", "-e", code], input=json.dumps([words, pairs]),
                          capture_output=True, text=True, check=True)  # fmt: skip
    for word, found in zip(words, json.loads(done.stdout), strict=True):
        assert found == [choose_particle(word, *pair) for pair in pairs], word


def test_the_tables_of_the_engine_have_a_row_for_every_record_that_pythons_have():
    code = f"""const {{ EXPLAIN }} = await import({str((ENGINE / "trace_rules.js").as_uri())!r});
    const {{ FOLLOW }} = await import({str((ENGINE / "follow.js").as_uri())!r});
    console.log(JSON.stringify([Object.keys(EXPLAIN), Object.keys(FOLLOW)]))"""
    done = subprocess.run(["node", "--input-type=module", "-e", code], capture_output=True, text=True, check=True)
    for own, table in zip(json.loads(done.stdout), (EXPLAIN, FOLLOW), strict=True):
        assert set(own) == {record.__name__ for record in table.filled()}


def test_a_pixel_is_explained_from_its_byte(tmp_path):
    net = zoo.build("lenet5")
    case = Case(net, tensors_for(net), draw_image(net, 0))
    [([found], _)] = trace_under_node([case], [["image[0,31,7]"]], tmp_path)
    assert found["groups"][0]["terms"][0]["x"] == round(255 * (case.x[0, 31, 7] * STD + MEAN))
    need_records_of_python([case], [["image[0,31,7]", "image[0,0,0]"]], tmp_path)


def test_a_value_behind_a_channel_put_to_zero_is_made_of_what_is_left(tmp_path):
    net = zoo.build("lenet5")
    case = Case(net, tensors_for(net), draw_image(net, 0), {"conv1": [2]})
    at = ["conv1[2,5,5]", "conv1[1,5,5]", "conv2[0,3,3]", "probability[4]"]
    [(found, _)] = trace_under_node([case], [at], tmp_path)
    assert found[0]["value"] == 0 and found[0]["steps"][-1]["name"] == "put to zero" and found[0]["computed"] == 0
    assert found[1]["steps"] == []
    assert all(term["value"] == 0 for term in found[2]["groups"][2]["terms"])
    assert any(term["value"] for term in found[2]["groups"][1]["terms"])
    [([plainly], _)] = trace_under_node([case._replace(zero={})], [["probability[4]"]], tmp_path)
    assert found[3]["value"] != pytest.approx(plainly["value"], rel=1e-6)


def test_a_value_put_to_zero_and_an_address_that_is_nowhere_are_told_in_korean_too(tmp_path):
    net = zoo.build("lenet5")
    case = Case(net, tensors_for(net), draw_image(net, 0), {"conv1": [2]})
    [(found, _)] = trace_under_node([case], [["conv1[2,5,5]", "conv9[0]", "conv1[0,0]"]], tmp_path, "ko")
    assert found[0]["steps"][-1]["name"] == "0으로 둠"
    assert found[1]["error"] == "conv9: 이런 이름의 층이 없습니다"
    with pytest.raises(StriateError) as error, striate.use_language("ko"):
        check_place(net, "conv1", (0, 0))
    assert found[2]["error"] == f"conv1[0,0]: {error.value.what}"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("conv1", "an address is a layer's name and an index in brackets"),
        ("conv9[0,0,0]", "no layer of this name"),
        ("conv1[0,0]", "the map is 6×28×28: channel, row and column"),
        ("conv1[6,0,0]", "the map is 6×28×28"),
        ("probability[10]", "the map is 10: one place in the vector"),
    ],
)
def test_an_address_that_is_nowhere_is_told_so(address, says, tmp_path):
    net = zoo.build("lenet5")
    [([found], _)] = trace_under_node([Case(net, tensors_for(net), draw_image(net, 0))], [[address]], tmp_path)
    assert says in found["error"]
