"""The browser's engine in Chromium: the same answers, in a worker made within one file, with nothing fetched."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.browser.joining import join_modules
from striate.engines import onnx

from .browser_nets import ENGINE, HERE, Case, pack_cases, read_answers
from .random_nets import inputs_for, tensors_for
from .studio_browser import browser
from .test_browser_engine import SMALL, compare_with_onnx, draw_cases, make_named_case

ORIGIN = "http://engine.test"

RUN = """async (plain) => {
    const { runNets } = await import("/run_nets.mjs");
    const { openNetwork } = await import("/network.js");
    const given = await (await fetch("/nets.json")).json();
    const made = runNets(openNetwork, given, await (await fetch("/nets.bin")).arrayBuffer(), plain);
    const bytes = new Uint8Array(Float32Array.from(made.values).buffer);
    let text = "";
    for (let i = 0; i < bytes.length; i += 30000) text += String.fromCharCode(...bytes.subarray(i, i + 30000));
    return { list: made.list, values: btoa(text) };
}"""


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


def serve_modules(page, numbers: bytes, listed: list) -> None:
    """Answer the page's requests from this machine's files; nothing goes out."""

    def answer(route) -> None:
        name = route.request.url.removeprefix(f"{ORIGIN}/")
        if name in ("", "nets.json"):
            route.fulfill(body=json.dumps(listed) if name else "<!doctype html><title>nets</title>",
                          content_type="application/json" if name else "text/html")  # fmt: skip
        elif name == "nets.bin":
            route.fulfill(body=numbers, content_type="application/octet-stream")
        else:
            place = HERE / name if name.endswith(".mjs") else ENGINE / name
            route.fulfill(body=place.read_bytes(), content_type="text/javascript")

    page.route("**/*", answer)


@pytest.mark.parametrize("kind", ["wasm", "plain"])
def test_chromium_computes_random_and_published_nets_as_onnx_runtime_does(chromium, kind):
    # Published nets of a few megabytes: larger ones take longest on their way into the browser.
    cases = [*draw_cases(40), *(make_named_case(*named) for named in SMALL if named[0] in ("lenet5", "mobilenet_v2"))]
    listed, numbers = pack_cases(cases)
    page = chromium.new_page()
    serve_modules(page, numbers, listed)
    page.goto(f"{ORIGIN}/")
    made = page.evaluate(RUN, kind == "plain")
    page.close()
    values = np.frombuffer(base64.b64decode(made["values"]), np.float32)
    for case, answer in zip(cases, read_answers(made["list"], values), strict=True):
        assert answer.kernel == kind
        compare_with_onnx(case, answer)


# One file ------------------------------------------------------------------------------------------------

NET = Net((2, 9, 12), [L.Conv(6, 3, padding="same"), L.ReLU(), L.MaxPool(2), L.Flatten(), L.Dense(4)], name="small")
ENDING = Net(NET.input, [*NET.layers, L.Softmax()], name="ending")
TWO = [[*NET.layers, L.Softmax()], [L.Flatten(), L.Dense(4), L.Softmax()]]
MEAN = Net(NET.input, [L.Parallel(*TWO, join="add"), L.LayerScale(0.5)], name="mean")

OPEN = """async ([net, tensors, views]) => {
    const named = new Map(tensors.map(([name, shape, data]) => [name, { shape, data: new Float32Array(data) }]));
    const source = document.getElementById("source").textContent;
    window.engine = await module_engine.openEngine({ net, tensors: named, views }, { source });
    return { place: engine.place, kernel: engine.kernel };
}"""


def write_engine_page(folder: Path, policy: str) -> Path:
    """The engine and its worker in one HTML file."""
    head = f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
    worker = join_modules("worker.js")
    page = folder / "page.html"
    page.write_text(
        f'{head}<script id="source" type="text/plain">{worker}</script><script>{join_modules("engine.js")}</script>',
        encoding="utf-8",
    )
    return page


BASE = "default-src 'none'; script-src 'unsafe-inline'"
WHOLE = f"{BASE} 'wasm-unsafe-eval' blob:; worker-src blob:"


def open_engine(chromium, address: Path, net: Net, views: str = "plain"):
    """A page with the engine open in it, what it says of itself, and the case that it holds."""
    page = chromium.new_page()
    page.context.set_offline(True)
    page.goto(address.as_uri())
    case = Case(net, tensors_for(net), inputs_for(net, 1)[0])
    listed, _ = pack_cases([case])
    tensors = [[n, list(a.shape), a.ravel().tolist()] for n, a in case.tensors.items()]
    return page, page.evaluate(OPEN, [listed[0]["net"], tensors, views]), case


def judge_probabilities(case: Case, views: str) -> np.ndarray:
    """What an exported file says: softmax of the mean of the logits over the views, or that of the probabilities."""
    session = onnx.open_net(case.net, case.tensors, views=views, threads=1)
    said = onnx.run_session(session, case.x[None].astype(np.float32))[0].astype(np.float64)
    return said if case.net.gives_probabilities else np.exp(said) / np.exp(said).sum()


@pytest.mark.parametrize(
    "policy, place, kernel",
    [(WHOLE, "worker", "wasm"), (f"{BASE} blob:; worker-src blob:", "worker", "plain"), (BASE, "page", "plain")],
)
def test_one_file_computes_where_its_policy_lets_it(chromium, tmp_path, policy, place, kernel):
    address = write_engine_page(tmp_path, policy)
    page, about, case = open_engine(chromium, address, NET)
    assert about == {"place": place, "kernel": kernel}
    got = page.evaluate("async (x) => [...(await engine.look(new Float32Array(x))).logits]", case.x.ravel().tolist())
    page.close()
    np.testing.assert_allclose(got, onnx.run_net(case.net, case.tensors, case.x[None])[0], atol=1e-5)


@pytest.mark.parametrize("net", [NET, ENDING, MEAN], ids=lambda net: net.name)
@pytest.mark.parametrize("views", ["plain", "flip", "flip+shift"])
def test_classify_averages_the_test_time_views_as_an_exported_file_does(chromium, tmp_path, net, views):
    page, _, case = open_engine(chromium, write_engine_page(tmp_path, WHOLE), net, views)
    got = page.evaluate("async (x) => [...(await engine.classify(new Float32Array(x)))]", case.x.ravel().tolist())
    page.close()
    np.testing.assert_allclose(got, judge_probabilities(case, views), atol=1e-6)


def test_logits_are_what_a_final_softmax_reads(chromium, tmp_path):
    page, _, case = open_engine(chromium, write_engine_page(tmp_path, WHOLE), ENDING)
    look = "async (x) => { const m = await engine.look(new Float32Array(x), { keep: 'last' });"
    got = page.evaluate(
        f"{look} return [[...m.logits], [...m.probabilities], m.maps.size]; }}", case.x.ravel().tolist()
    )
    page.close()
    maps = onnx.run_maps(case.net, case.tensors, case.x[None])
    np.testing.assert_allclose(got[0], maps["dense1"][0], atol=1e-5)
    np.testing.assert_allclose(got[1], maps["softmax1"][0], atol=1e-5)
    assert got[2] == 0


def test_of_several_looks_the_last_one_is_answered_and_those_between_are_dropped(chromium, tmp_path):
    page, _, case = open_engine(chromium, write_engine_page(tmp_path, WHOLE), NET)
    several = """async (x) => {
        const looks = [1, 2, 3, 4].map((k) => engine.look(new Float32Array(x).map((v) => v * k)));
        return (await Promise.all(looks)).map((made) => made && [...made.logits]);
    }"""
    got = page.evaluate(several, case.x.ravel().tolist())
    wrong = page.evaluate("async () => engine.look(new Float32Array(1), { zero: { no: [0] } }).catch((e) => e.message)")
    page.close()
    assert got[1] is got[2] is None
    np.testing.assert_allclose(got[3], onnx.run_net(case.net, case.tensors, 4 * case.x[None])[0], atol=1e-4)
    assert wrong == "no: there is no such layer"


# Several workers ----------------------------------------------------------------------------------------

# Few squares to cover, and much to compute behind each.
BUSY = Net((3, 5, 5), [L.Upsample(12), *(L.Conv(24, 5) for _ in range(3)), L.GlobalAvgPool(), L.Dense(4)])

SHARE_OUT = """async ([net, tensors, image, workers, broken, spoil]) => {
    const named = new Map(tensors.map(([name, shape, data]) => [name, { shape, data: new Float32Array(data) }]));
    const source = document.getElementById("source").textContent;
    const Usual = Worker;
    const spoiled = URL.createObjectURL(new Blob([source, spoil], { type: "text/javascript" }));
    let made = 0;
    Worker = class extends Usual {
        constructor(address) {
            super(broken.includes(made++) ? spoiled : address);
        }
    };
    const engine = await module_engine.openEngine({ net, tensors: named }, { source, workers });
    const change = (k) => Float32Array.from(image, (value, i) => value * Math.cos(k * i));
    const images = Array.from({ length: 12 }, (_, k) => change(k));
    const ask = (promise) => promise.then((found) => found && [...(found.data ?? found)], (error) => error.message);
    const answers = await Promise.all(images.map((x) => ask(engine.classify(x))));
    const shares = [];
    const map = await ask(engine.occlude(images[1], { label: 2, onProgress: (share) => shares.push(share) }));
    const overtaken = ask(engine.occlude(images[1], { label: 2 }));
    const newer = engine.look(images[0], { keep: "last" }).then(() => "looked", (error) => error.message);
    const found = { answers, map, shares, overtaken: await overtaken, newer: await newer };
    found.count = engine.workers.count();
    engine.close();
    Worker = Usual;
    return found;
}"""

DIES = """;const usual = self.onmessage; let asked = 0;
self.onmessage = (event) => { if (asked++ > AFTER) throw new Error("no room"); usual(event); };"""


def share_out(page, case: Case, workers: int, broken: tuple[int, ...] = (), after: int = -1) -> dict:
    """What so many workers answer; `broken` of them, as they are made, die after so many questions and the opening."""
    listed, _ = pack_cases([case])
    tensors = [[n, list(a.shape), a.ravel().tolist()] for n, a in case.tensors.items()]
    given = [
        listed[0]["net"],
        tensors,
        case.x.ravel().tolist(),
        workers,
        list(broken),
        DIES.replace("AFTER", str(after)),
    ]
    return page.evaluate(SHARE_OUT, given)


@pytest.fixture(scope="module")
def shared(chromium, tmp_path_factory):
    """A page with the engine, a net, and what one worker answers."""
    page = chromium.new_page()
    page.goto(write_engine_page(tmp_path_factory.mktemp("shared"), WHOLE).as_uri())
    case = Case(BUSY, tensors_for(BUSY), inputs_for(BUSY, 1)[0])
    yield page, case, share_out(page, case, 1)
    page.close()


def test_three_workers_answer_as_one_does(shared):
    page, case, alone = shared
    together = share_out(page, case, 3)
    assert (alone["count"], together["count"]) == (1, 3)
    assert together["answers"] == alone["answers"] and together["map"] == alone["map"]
    assert len({tuple(answer) for answer in alone["answers"]}) == 12 and np.ptp(alone["map"]) > 0
    images = np.stack([case.x.ravel() * np.cos(k * np.arange(case.x.size)) for k in range(12)]).reshape(12, *BUSY.input)
    logits = onnx.run_net(case.net, case.tensors, images)
    np.testing.assert_allclose(alone["answers"], softmax(logits, axis=1), atol=1e-5)
    for found in (alone, together):
        assert found["overtaken"] is None and found["newer"] == "looked"
        assert found["shares"] == sorted(found["shares"]) and found["shares"][-1] == 1


def test_where_a_further_worker_cannot_be_opened_or_dies_the_others_answer_for_it(shared):
    page, case, alone = shared
    for after, broken in ((-1, (1, 2)), (1, (1,)), (2, (0,))):
        found = share_out(page, case, 3, broken, after)
        assert found["answers"] == alone["answers"] and found["map"] == alone["map"], (after, broken)


def test_where_every_worker_dies_each_question_is_an_error(shared):
    page, case, _ = shared
    found = share_out(page, case, 1, (0,), after=4)
    assert sum("no room" in answer for answer in found["answers"]) == 8
    assert "no room" in found["map"] and "no room" in found["overtaken"] and "no room" in found["newer"]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_there_are_as_many_workers_as_cores_four_at_most_and_fewer_for_large_weights():
    code = f"""import {{ countWorkers }} from "{ENGINE}/pool.js";
    const of = (bytes, cores) => countWorkers(new Map([["a", {{ data: {{ byteLength: bytes }} }}]]), cores);
    const asked = [[250e3, 1], [250e3, 2], [250e3, 16], [46.8e6, 8], [102e6, 8], [553e6, 8]];
    console.log(JSON.stringify(asked.map(([bytes, cores]) => of(bytes, cores))));"""
    done = subprocess.run(["node", "--input-type=module", "-e", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [1, 2, 4, 4, 2, 1]  # ResNet-18 has 46.8 MB, ResNet-50 102, VGG-16 553
