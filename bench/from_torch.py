"""Which of timm's and torchvision's convolutional families become Nets: `python bench/from_torch.py`.

One network of each family, the smallest, with random weights: the difference between its answers and the Net's as a
share of the largest answer, the layers, the parameters of both (a constant factor of the module is a weight of the
Net), and the seconds; or the first operation that no layer record expresses.

    --only convnext dla    families whose names hold one of these words
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import warnings
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

FAMILIES = {
    "resnet": "resnet18", "resnet-d": "resnet18d", "resnet v2": "resnetv2_50", "se-resnet": "seresnet18",
    "eca-resnet": "ecaresnet50t", "res2net": "res2net50_26w_4s", "cbam-resnet": "cbam", "regnet": "regnety_002",
    "densenet": "densenet121", "efficientnet": "efficientnet_b0", "efficientnet v2": "efficientnetv2_rw_t",
    "efficientnet-lite": "efficientnet_lite0", "mobilenet v1": "mobilenetv1_100", "mobilenet v2": "mobilenetv2_050",
    "mobilenet v3": "mobilenetv3_small_050", "mobilenet v4": "mobilenetv4_conv_small", "mnasnet": "mnasnet_small",
    "mixnet": "mixnet_s", "ghostnet": "ghostnet_050", "convnext": "convnext_atto", "convnext v2": "convnextv2_atto",
    "xception": "xception41", "inception v3": "inception_v3", "inception v4": "inception_v4",
    "inception-resnet v2": "inception_resnet_v2", "repvgg": "repvgg_a0", "mobileone": "mobileone_s0",
    "repvit": "repvit_m0_9", "hgnet v2": "hgnetv2_b0", "lcnet": "lcnet_050", "tinynet": "tinynet_e",
    "darknet": "darknet53", "cspnet": "cspresnet50", "dla": "dla34", "dpn": "dpn48b", "selecsls": "selecsls42",
    "vovnet": "ese_vovnet19b_slim", "nfnet": "nfnet_f0", "fastvit": "fastvit_t8", "edgenext": "edgenext_xx_small",
    "starnet": "starnet_s1", "shufflenet v2": "torchvision shufflenet_v2_x0_5",
}  # fmt: skip
"""Family -> the name of its smallest network."""


def make_network(name: str) -> torch.nn.Module:
    import timm
    from tests.oracles import torchvision

    if name.startswith("torchvision "):
        return getattr(torchvision().models, name.split()[1])()
    if name == "cbam":
        return timm.create_model("resnet18", block_args={"attn_layer": "cbam"})
    return timm.create_model(name)


def convert_family(name: str) -> str:
    """A row's cells: what came of it."""
    from striate.conversion.convert import from_torch
    from striate.errors import StriateError

    module = make_network(name)
    shape = getattr(module, "default_cfg", {}).get("input_size", (3, 224, 224))
    began = time.perf_counter()
    try:
        found = from_torch(module, shape)
    except StriateError as e:
        return f"no   {e.what} at {e.where}"[:100]
    trained = sum(t.numel() for t in module.parameters())
    own = sum(tensor.size for key, tensor in found.tensors.items() if found.net.tensors[key].trainable)
    took = time.perf_counter() - began
    return f"yes  {found.difference:8.1e} {len(found.net.steps):7,} {trained:13,} {own:13,} {took:8.1f}"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--only", nargs="*", default=[""])
    given = words.parse_args()
    warnings.filterwarnings("ignore")
    from tests.oracles import timm as load_timm

    print(f"torch {torch.__version__}, timm {load_timm().__version__}, {platform.processor() or platform.machine()}")
    heads = f"{'differs':>8} {'layers':>7} {'parameters':>13} {'of the Net':>13} {'seconds':>8}"
    print(f"{'family':<20} {'smallest':<32}      {heads}")
    rows = {}
    for family, name in FAMILIES.items():
        if any(word in family for word in given.only):
            rows[family] = convert_family(name)
            print(f"{family:<20} {name:<32} {rows[family]}", flush=True)
    good = sum(row.startswith("yes") for row in rows.values())
    print(f"{good} of {len(rows)} families become Nets: {good / max(1, len(rows)):.0%}")


if __name__ == "__main__":
    main()
