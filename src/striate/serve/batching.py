"""Images of all requests at once: a bounded queue, and one worker thread a core that decodes and computes.

A worker decodes as long as there is something to decode and less than a batch is ready; then it computes what is ready.
So a lone image is answered at once, nobody waits for a batch to fill, batches form by themselves under load, and an
image that takes long to decode holds up one worker, not the others' images.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.read import decode
from ..data.read.quiet import silence_pillow
from ..errors import DataError, StriateError
from ..language import say
from ..model.exported import ExportedModel
from ..model.prediction import count_workers, judge_images
from .settings import Limits, Refused


@dataclass(eq=False)
class QueuedImage:
    """One image on its way: its bytes, then its pixels, then the future that its request waits for.

    data  a file's bytes, or uint8 H×W×C
    """

    data: bytes | np.ndarray
    future: asyncio.Future
    gone: bool = False
    pixels: np.ndarray | None = None


class Batching:
    """The queue and its workers, between `start` and `close`.

    observe  told ("batch" | "decode" | "compute", number): images of a batch, seconds of an image, of a batch
    """

    def __init__(
        self, model: ExportedModel, limits: Limits, observe: Callable[[str, float], None] = lambda what, value: None
    ) -> None:
        self.model, self.limits, self.observe = model, limits, observe
        self.raw: deque[QueuedImage] = deque()
        self.ready: deque[QueuedImage] = deque()
        self.some = threading.Condition()
        self.closing = False
        self.in_flight = 0
        self.seconds_each = 0.01
        self.threads: list[threading.Thread] = []

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Compute once, so that the first request is not the slowest, and start the workers."""
        self.loop = loop
        judge_images(self.model, np.zeros((1, *self.model.preprocess.size, self.model.channels), np.uint8))
        for number in range(count_workers()):
            self.threads.append(threading.Thread(target=self.work, name=f"predict-{number}", daemon=True))
            self.threads[-1].start()

    def close(self) -> None:
        """Finish what is in the queue, then stop the workers."""
        with self.some:
            self.closing = True
            self.some.notify_all()
        for thread in self.threads:
            thread.join()

    def admit(self, images: int) -> None:
        """Raise Refused (429) unless the queue has room for so many more images."""
        if self.in_flight + images > self.limits.queue:
            wait = max(1, math.ceil(self.in_flight * self.seconds_each / count_workers()))
            raise Refused(
                429,
                "queue",
                say("too many images are waiting"),
                rule=say("at most {queue} at once", queue=self.limits.queue),
                hint=say("retry in {wait} s", wait=wait),
                headers={"Retry-After": str(wait)},
            )

    async def probabilities(self, images: list[bytes | np.ndarray]) -> list[np.ndarray | StriateError]:
        """For each image its probabilities, or why it has none. Raises Refused (429).

        Cancelled, it leaves no work behind.
        """
        self.admit(len(images))
        items = [QueuedImage(data, self.loop.create_future()) for data in images]
        self.in_flight += len(items)
        for item in items:
            item.future.add_done_callback(self.out)
        with self.some:
            self.raw.extend(items)
            self.some.notify(len(items))
        try:
            return await asyncio.gather(*(item.future for item in items))
        except asyncio.CancelledError:
            for item in items:
                item.gone = True
            raise

    def out(self, future: asyncio.Future) -> None:
        self.in_flight -= 1

    def work(self) -> None:
        """A worker thread's whole life."""
        while True:
            with self.some:
                while not self.raw and not self.ready:
                    if self.closing:
                        return
                    self.some.wait()
                decoding = bool(self.raw) and len(self.ready) < self.limits.batch
                item = self.raw.popleft() if decoding else None
                batch = [] if decoding else [self.ready.popleft() for _ in range(self.share())]
            if item is not None:
                self.decode(item)
            else:
                self.compute([one for one in batch if not one.gone])

    def share(self) -> int:
        """So many of the ready images for one worker that the others have theirs."""
        return min(self.limits.batch, math.ceil(len(self.ready) / count_workers()) if not self.raw else len(self.ready))

    def decode(self, item: QueuedImage) -> None:
        if item.gone:
            return
        began = time.perf_counter()
        try:
            item.pixels = decode_pixels(self.model, item.data, self.limits)
        except StriateError as e:
            self.answer([item], [e])
            return
        except Exception as e:  # a worker outlives whatever an image does to a decoder
            self.answer(
                [item], [StriateError("image", say("the image cannot be decoded: {name}", name=type(e).__name__))]
            )
            return
        item.data = b""
        self.observe("decode", time.perf_counter() - began)
        with self.some:
            self.ready.append(item)
            self.some.notify()

    def compute(self, items: list[QueuedImage]) -> None:
        if not items:
            return
        began = time.perf_counter()
        rows = self.rows([item.pixels for item in items if item.pixels is not None])
        seconds = time.perf_counter() - began
        self.seconds_each += 0.05 * (seconds / len(items) - self.seconds_each)
        self.observe("batch", len(items))
        self.observe("compute", seconds)
        self.answer(items, rows)

    def rows(self, images: list[np.ndarray]) -> list[Any]:
        """The probabilities of each image, or why it has none: one that the network cannot compute takes no other
        image's answer from it."""
        try:
            return list(judge_images(self.model, np.stack(images)))
        except Exception as e:
            if len(images) > 1:
                return [row for image in images for row in self.rows([image])]
            why = e.what if isinstance(e, StriateError) else type(e).__name__
            return [Refused(500, "model", say("the network cannot compute this image: {why}", why=why))]

    def answer(self, items: list[QueuedImage], answers: list[Any]) -> None:
        self.loop.call_soon_threadsafe(settle_items, items, answers)


def settle_items(items: list[QueuedImage], answers: list[Any]) -> None:
    for item, answer in zip(items, answers, strict=True):
        if not item.future.done():
            item.future.set_result(answer)


def decode_pixels(model: ExportedModel, data: bytes | np.ndarray, limits: Limits) -> np.ndarray:
    """The image at the net's size. Raises DataError, for its size and shape before anything is decoded."""
    if isinstance(data, bytes):
        with silence_pillow():
            image = decode.open_image(data, "image", limits.pixels)
        width, height = image.size
    else:
        height, width = data.shape[:2]
    got = say("{width}×{height} pixels", width=width, height=height)
    if height * width > limits.pixels:
        raise decode.refuse_large_image("image", got, limits.pixels)
    if max(width, height) > limits.aspect * min(width, height):
        rule = say("the longer side at most {aspect:g} times the other", aspect=limits.aspect)
        raise DataError("image", say("the image is too elongated"), got=got, rule=rule)
    return model.prepared(data, max_pixels=limits.pixels)
