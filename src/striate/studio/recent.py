"""The images that were looked at last, and the answers about them: what the inside view of any host asks for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DataError
from ..inside import ablation
from ..inside.attribution import compute_attribution, overlay_attribution
from ..inside.trace import check_place
from ..language import say
from ..report import pictures
from .describe import describe_look
from .look import Look
from .packing import convert_to_bytes

# So many images with all their maps are kept, the last ones asked for, while the maps take no more bytes than that; one
# always.
MOST_LOOKS = 12
MOST_HELD = 256 << 20


@dataclass
class Looks:
    """The last few looks, each under a number of its own."""

    kept: OrderedDict[str, Look] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    number: int = 0

    def add(self, made: Look, *, packed: bool = True) -> dict[str, Any]:
        """Keep a look; all that the page draws of it, and its `id`. packed  as for `describe_look`."""
        with self.lock:
            self.number += 1
            key = str(self.number)
            self.kept[key] = made
            while len(self.kept) > MOST_LOOKS or (len(self.kept) > 1 and self.count_bytes() > MOST_HELD):
                self.kept.popitem(last=False)
        return describe_look(made, packed=packed) | {"id": key}

    def again(self, key: str) -> dict[str, Any]:
        """What `add` gave for the look of this number, its maps aside. Raises DataError."""
        return describe_look(self.at(key), packed=False) | {"id": key}

    def maps(self, key: str, paths: list[str], values: bool) -> bytes:
        """The maps at these paths, one after another: their float32 values, or the levels of their pictures.

        Raises DataError.
        """
        maps = self.at(key).scene.maps
        if unknown := next((path for path in paths if path not in maps), None):
            raise DataError(unknown, say("the net has no such layer"))
        return b"".join(
            np.asarray(maps[path], "<f4").tobytes() if values else convert_to_bytes(maps[path]).tobytes()
            for path in paths
        )

    def count_bytes(self) -> int:
        """Of the maps of all looks."""
        return sum(y.nbytes for look in self.kept.values() for y in look.scene.maps.values())

    def at(self, key: str) -> Look:
        """The look of this number. Raises DataError for one that is no longer kept."""
        if key not in self.kept:
            raise DataError("look", say("this image is no longer kept"), hint=say("open it again"))
        return self.kept[key]

    def trace(self, key: str, at: str) -> dict[str, Any]:
        """Where the value at an address comes from, and who reads it. Raises TraceError."""
        return self.at(key).found(at)

    def ladder(self, key: str, at: str, way: str) -> list[dict[str, str]]:
        """All values on the way from one down to a pixel ("lead") or up to a class ("up"). Raises TraceError."""
        return self.at(key).ladder(at, way)

    def attribution(self, key: str, target: int, method: str) -> dict[str, Any]:
        """Which pixels speak for a class."""
        given = self.at(key)
        found = compute_attribution(given.model.net, given.model.tensors, given.scene.maps["image"], target, method)
        side = max(1, 220 // max(given.picture.shape[:2]))
        drawn = pictures.enlarge_picture(overlay_attribution(found, given.picture), side)
        return {"target": target, "method": method, "src": pictures.encode_data_uri(drawn)}

    def lesion(self, key: str, path: str, channel: int) -> dict[str, Any]:
        """The class probabilities of the image once a channel of a layer's map is put to zero. Raises TraceError."""
        given = self.at(key)
        shape = check_place(given.net, path, (channel, *(0 for _ in given.net.at(path).y[1:])))
        halves = given.lens.halves(path)
        cut = ablation.zero_channel(given.scene.maps[path][None], channel)
        [[probabilities]] = ablation.run_half(halves[1], {"image": given.scene.maps["image"][None], "map": cut})
        return {"path": path, "channel": channel, "channels": shape[0], "probabilities": probabilities.tolist()}
