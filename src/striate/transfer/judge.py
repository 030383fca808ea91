"""What heads that have not seen an image say of it: the judges of its label."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..architecture.net import Net
from ..data.check.label_errors import make_folds
from ..data.images import Dataset, Images
from ..engines.model_file import Preprocess
from ..fitting.watch import Watch
from .extraction import TransferJob, extract_split, make_frozen_net
from .head import predict_out_of_fold


def judge_by_heads(
    backbone: Net,
    tensors: Mapping[str, np.ndarray],
    preprocess: Preprocess,
    images: Images,
    *,
    strength: float,
    seed: int = 0,
    parts: int = 5,
    watch: Watch | None = None,
) -> np.ndarray:
    """Class probabilities, float64 N×K, of all `images` by `parts` heads on the frozen `backbone`, each fitted without

    its part; the features are taken from the cache folder where they are there. Copies of a picture stay in one part.
    """
    data = Dataset("", images, images.take(np.arange(0)), None, (), "", ())
    job = TransferJob(
        backbone.resized(data.shape), tensors, preprocess, data, seed, None, watch or Watch(), lambda: False
    )
    seen = extract_split(job, make_frozen_net(job, tuning=False), "train")
    split = make_folds(images.y, min(parts, len(images)), groups=seen.marks)
    return predict_out_of_fold(seen.vectors, images.y, len(images.classes), strength, split, job.wide.blocks)
