"""How torchvision, timm and one PyPI package name the tensors of our nets: a table a family and layout.

A rule is (their name, our name). Theirs is a regular expression for a whole key. In ours {1} stands for its first
group and {1+1} for that number plus one; `*` is any one name and (a|b) a choice: of the tensors that fit, the key gets
the first that no earlier key got, keys being taken in their natural order (features.2 before features.10). ".main",
the branch of a residual block that is not the shortcut, is left out of our names, so that a block reads the same
with and without a shortcut. Shapes are checked afterwards, key by key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

Rule = tuple[str, str]

ALEXNET = [
    (r"features\.\d+\.(\w+)", "conv*.{1}"),
    (r"classifier\.\d+\.(\w+)", "dense*.{1}"),
]

VGG_FEATURES = [(r"features\.\d+\.(\w+)", "block*.*.{1}")]
VGG = [
    *VGG_FEATURES,
    (r"classifier\.\d+\.(\w+)", "dense*.{1}"),
]
VGG_TIMM = [
    *VGG_FEATURES,
    (r"pre_logits\.fc(\d)\.(\w+)", "dense{1}.{2}"),
    (r"head\.fc\.(\w+)", "dense3.{1}"),
]

GOOGLENET = [
    (r"conv(\d)\.(conv|bn)\.(\w+)", "{2}{1}.{3}"),
    (r"inception(\w+)\.branch1\.(conv|bn)\.(\w+)", "inception{1}.one.{2}1.{3}"),
    (r"inception(\w+)\.branch2\.(\d)\.(conv|bn)\.(\w+)", "inception{1}.three.{3}{2+1}.{4}"),
    (r"inception(\w+)\.branch3\.(\d)\.(conv|bn)\.(\w+)", "inception{1}.five.{3}{2+1}.{4}"),
    (r"inception(\w+)\.branch4\.1\.(conv|bn)\.(\w+)", "inception{1}.pool.{2}1.{3}"),
    (r"aux(\d)\.conv\.(conv|bn)\.(\w+)", "aux{1}.{2}1.{3}"),
    (r"aux(\d)\.fc(\d)\.(\w+)", "aux{1}.dense{2}.{3}"),
    (r"fc\.(\w+)", "dense1.{1}"),
]

INCEPTION = [
    (r"Conv2d_\w+\.(conv|bn)\.(\w+)", "{1}*.{2}"),
    (r"Mixed_(\w+)\.branch1x1\.(conv|bn)\.(\w+)", "mixed{1}.one.{2}1.{3}"),
    (r"Mixed_(\w+)\.branch5x5_(\d)\.(conv|bn)\.(\w+)", "mixed{1}.five.{3}{2}.{4}"),
    (r"Mixed_(\w+)\.branch3x3\.(conv|bn)\.(\w+)", "mixed{1}.three.{2}1.{3}"),
    (r"Mixed_(\w+)\.branch3x3_(\d)\.(conv|bn)\.(\w+)", "mixed{1}.three.{3}{2}.{4}"),
    (r"Mixed_(\w+)\.branch3x3_2a\.(conv|bn)\.(\w+)", "mixed{1}.three.fork.wide.{2}1.{3}"),
    (r"Mixed_(\w+)\.branch3x3_2b\.(conv|bn)\.(\w+)", "mixed{1}.three.fork.high.{2}1.{3}"),
    (r"Mixed_(\w+)\.branch3x3dbl_(\d)\.(conv|bn)\.(\w+)", "mixed{1}.double.{3}{2}.{4}"),
    (r"Mixed_(\w+)\.branch3x3dbl_3a\.(conv|bn)\.(\w+)", "mixed{1}.double.fork.wide.{2}1.{3}"),
    (r"Mixed_(\w+)\.branch3x3dbl_3b\.(conv|bn)\.(\w+)", "mixed{1}.double.fork.high.{2}1.{3}"),
    (r"Mixed_(\w+)\.branch7x7(?:x3)?_(\d)\.(conv|bn)\.(\w+)", "mixed{1}.seven.{3}{2}.{4}"),
    (r"Mixed_(\w+)\.branch7x7dbl_(\d)\.(conv|bn)\.(\w+)", "mixed{1}.double.{3}{2}.{4}"),
    (r"Mixed_(\w+)\.branch_pool\.(conv|bn)\.(\w+)", "mixed{1}.pool.{2}1.{3}"),
    (r"AuxLogits\.conv(\d)\.(conv|bn)\.(\w+)", "aux1.{2}{1+1}.{3}"),
    (r"AuxLogits\.fc\.(\w+)", "aux1.dense1.{1}"),
    (r"fc\.(\w+)", "dense1.{1}"),
]

RESNET = [
    (r"(conv1|bn1)\.(\w+)", "{1}.{2}"),
    (r"layer(\d)\.(\d+)\.((?:conv|bn)\d)\.(\w+)", "layer{1}.block{2+1}.{3}.{4}"),
    (r"layer(\d)\.(\d+)\.downsample\.0\.(\w+)", "layer{1}.block{2+1}.shortcut.conv1.{3}"),
    (r"layer(\d)\.(\d+)\.downsample\.1\.(\w+)", "layer{1}.block{2+1}.shortcut.bn1.{3}"),
    (r"layer(\d)\.(\d+)\.se\.fc(\d)\.(\w+)", "layer{1}.block{2+1}.se.gate.conv{3}.{4}"),
    (r"fc\.(\w+)", "dense1.{1}"),
]

SQUEEZENET = [
    (r"features\.0\.(\w+)", "conv1.{1}"),
    (r"features\.\d+\.squeeze\.(\w+)", "fire*.squeeze.{1}"),
    (r"features\.\d+\.expand1x1\.(\w+)", "fire*.expand.one.conv1.{1}"),
    (r"features\.\d+\.expand3x3\.(\w+)", "fire*.expand.three.conv1.{1}"),
    (r"classifier\.1\.(\w+)", "conv2.{1}"),
]

# The published files say norm.1 where the modules have since been called norm1.
DENSENET = [
    (r"features\.conv0\.(\w+)", "conv1.{1}"),
    (r"features\.norm0\.(\w+)", "bn1.{1}"),
    (r"features\.denseblock(\d)\.denselayer(\d+)\.norm\.?(\d)\.(\w+)", "denseblock{1}.layer{2}.new.bn{3}.{4}"),
    (r"features\.denseblock(\d)\.denselayer(\d+)\.conv\.?(\d)\.(\w+)", "denseblock{1}.layer{2}.new.conv{3}.{4}"),
    (r"features\.transition(\d)\.norm\.(\w+)", "transition{1}.bn1.{2}"),
    (r"features\.transition(\d)\.conv\.(\w+)", "transition{1}.conv1.{2}"),
    (r"features\.norm5\.(\w+)", "bn2.{1}"),
    (r"classifier\.(\w+)", "dense1.{1}"),
]

XCEPTION = [
    (r"((?:conv|bn)\d)\.(weight|bias|running_\w+)", "{1}.{2}"),
    (r"conv(\d)\.conv1\.(\w+)", "depthwise{1}.{2}"),
    (r"conv(\d)\.pointwise\.(\w+)", "pointwise{1}.{2}"),
    (r"block(\d+)\.skip\.(\w+)", "block{1}.shortcut.conv1.{2}"),
    (r"block(\d+)\.skipbn\.(\w+)", "block{1}.shortcut.bn1.{2}"),
    (r"block(\d+)\.rep\.\d+\.conv1\.(\w+)", "block{1}.depthwise*.{2}"),
    (r"block(\d+)\.rep\.\d+\.pointwise\.(\w+)", "block{1}.pointwise*.{2}"),
    (r"block(\d+)\.rep\.\d+\.(\w+)", "block{1}.bn*.{2}"),
    (r"fc\.(\w+)", "dense1.{1}"),
]

MOBILENET = [
    (r"features\.\d+\.0\.(\w+)", "conv*.{1}"),
    (r"features\.\d+\.1\.(\w+)", "bn*.{1}"),
    (r"features\.\d+\.conv\.[\d.]+\.(\w+)", "stage*.block*.*.{1}"),
    (r"features\.\d+\.block\.\d\.fc(\d)\.(\w+)", "stage*.block*.se.gate.conv{1}.{2}"),
    (r"features\.\d+\.block\.\d\.0\.(\w+)", "stage*.block*.(expand|depthwise|project).{1}"),
    (r"features\.\d+\.block\.\d\.1\.(\w+)", "stage*.block*.(expand|depthwise|project)_bn.{1}"),
    (r"classifier\.\d\.(\w+)", "dense*.{1}"),
]
TIMM_STEM = [
    (r"conv_stem\.(\w+)", "conv1.{1}"),
    (r"bn1\.(\w+)", "bn1.{1}"),
]
MOBILENET_V1_TIMM = [
    *TIMM_STEM,
    (r"blocks\.(\d)\.(\d)\.conv_dw\.(\w+)", "stage{1+1}.block{2+1}.depthwise.{3}"),
    (r"blocks\.(\d)\.(\d)\.bn1\.(\w+)", "stage{1+1}.block{2+1}.depthwise_bn.{3}"),
    (r"blocks\.(\d)\.(\d)\.conv_pw\.(\w+)", "stage{1+1}.block{2+1}.pointwise.{3}"),
    (r"blocks\.(\d)\.(\d)\.bn2\.(\w+)", "stage{1+1}.block{2+1}.pointwise_bn.{3}"),
    (r"classifier\.(\w+)", "dense1.{1}"),
]
TIMM_BLOCKS = [
    *TIMM_STEM,
    (r"blocks\.(\d)\.(\d+)\.se\.conv_reduce\.(\w+)", "stage{1+1}.block{2+1}.se.gate.conv1.{3}"),
    (r"blocks\.(\d)\.(\d+)\.se\.conv_expand\.(\w+)", "stage{1+1}.block{2+1}.se.gate.conv2.{3}"),
    (r"blocks\.(\d)\.(\d+)\.conv_dw\.(\w+)", "stage{1+1}.block{2+1}.depthwise.{3}"),
    # The first stage does not expand: its second convolution is the projection.
    (r"blocks\.0\.(\d+)\.conv_pw\.(\w+)", "stage1.block{1+1}.project.{2}"),
    (r"blocks\.0\.(\d+)\.bn1\.(\w+)", "stage1.block{1+1}.depthwise_bn.{2}"),
    (r"blocks\.0\.(\d+)\.bn2\.(\w+)", "stage1.block{1+1}.project_bn.{2}"),
    (r"blocks\.(\d)\.(\d+)\.conv_pw\.(\w+)", "stage{1+1}.block{2+1}.expand.{3}"),
    (r"blocks\.(\d)\.(\d+)\.conv_pwl\.(\w+)", "stage{1+1}.block{2+1}.project.{3}"),
    (r"blocks\.(\d)\.(\d+)\.bn2\.(\w+)", "stage{1+1}.block{2+1}.depthwise_bn.{3}"),
    (r"blocks\.(\d)\.(\d+)\.bn3\.(\w+)", "stage{1+1}.block{2+1}.project_bn.{3}"),
]
EFFICIENTNET_TIMM = [
    *TIMM_BLOCKS,
    (r"blocks\.(\d)\.(\d+)\.bn1\.(\w+)", "stage{1+1}.block{2+1}.expand_bn.{3}"),
    (r"conv_head\.(\w+)", "conv2.{1}"),
    (r"bn2\.(\w+)", "bn2.{1}"),
    (r"classifier\.(\w+)", "dense1.{1}"),
]
MOBILENET_V3_TIMM = [
    *TIMM_BLOCKS,
    # The 1×1 convolution after the last stage is a stage of its own there: number 6 in large, 5 in small.
    (r"blocks\.\d\.0\.conv\.(\w+)", "conv2.{1}"),
    (r"blocks\.(\d)\.(\d+)\.bn1\.(\w+)", "(stage{1+1}.block{2+1}.expand_bn|bn2).{3}"),
    (r"conv_head\.(\w+)", "dense1.{1}"),
    (r"classifier\.(\w+)", "dense2.{1}"),
]

EFFICIENTNET = [
    (r"features\.\d\.0\.(\w+)", "conv*.{1}"),
    (r"features\.\d\.1\.(\w+)", "bn*.{1}"),
    (r"features\.(\d)\.(\d+)\.block\.\d\.fc(\d)\.(\w+)", "stage{1}.block{2+1}.se.gate.conv{3}.{4}"),
    (r"features\.(\d)\.(\d+)\.block\.\d\.0\.(\w+)", "stage{1}.block{2+1}.(expand|depthwise|project).{3}"),
    (r"features\.(\d)\.(\d+)\.block\.\d\.1\.(\w+)", "stage{1}.block{2+1}.(expand|depthwise|project)_bn.{3}"),
    (r"classifier\.1\.(\w+)", "dense1.{1}"),
]
LITE0_PACKAGE = [
    (r"_conv_stem\.(\w+)", "conv1.{1}"),
    (r"_bn0\.(\w+)", "bn1.{1}"),
    (r"_blocks\.\d+\._expand_conv\.(\w+)", "stage*.block*.expand.{1}"),
    (r"_blocks\.\d+\._bn0\.(\w+)", "stage*.block*.expand_bn.{1}"),
    (r"_blocks\.\d+\._depthwise_conv\.(\w+)", "stage*.block*.depthwise.{1}"),
    (r"_blocks\.\d+\._bn1\.(\w+)", "stage*.block*.depthwise_bn.{1}"),
    (r"_blocks\.\d+\._project_conv\.(\w+)", "stage*.block*.project.{1}"),
    (r"_blocks\.\d+\._bn2\.(\w+)", "stage*.block*.project_bn.{1}"),
    (r"_conv_head\.(\w+)", "conv2.{1}"),
    (r"_bn1\.(\w+)", "bn2.{1}"),
    (r"_fc\.(\w+)", "dense1.{1}"),
]

CONVNEXT = [
    (r"features\.0\.0\.(\w+)", "conv1.{1}"),
    (r"features\.0\.1\.(\w+)", "ln1.{1}"),
    (r"features\.\d\.\d+\.layer_scale", "stage*.block*.scale1.weight"),
    (r"features\.\d\.\d+\.block\.0\.(\w+)", "stage*.block*.conv1.{1}"),
    (r"features\.\d\.\d+\.block\.2\.(\w+)", "stage*.block*.ln1.{1}"),
    (r"features\.\d\.\d+\.block\.3\.(\w+)", "stage*.block*.conv2.{1}"),
    (r"features\.\d\.\d+\.block\.5\.(\w+)", "stage*.block*.conv3.{1}"),
    (r"features\.\d\.0\.(\w+)", "stage*.downsample.ln1.{1}"),
    (r"features\.\d\.1\.(\w+)", "stage*.downsample.conv1.{1}"),
    (r"classifier\.0\.(\w+)", "ln2.{1}"),
    (r"classifier\.2\.(\w+)", "dense1.{1}"),
]
CONVNEXT_TIMM = [
    (r"stem\.0\.(\w+)", "conv1.{1}"),
    (r"stem\.1\.(\w+)", "ln1.{1}"),
    (r"stages\.(\d)\.blocks\.(\d+)\.gamma", "stage{1+1}.block{2+1}.scale1.weight"),
    (r"stages\.(\d)\.blocks\.(\d+)\.conv_dw\.(\w+)", "stage{1+1}.block{2+1}.conv1.{3}"),
    (r"stages\.(\d)\.blocks\.(\d+)\.norm\.(\w+)", "stage{1+1}.block{2+1}.ln1.{3}"),
    (r"stages\.(\d)\.blocks\.(\d+)\.mlp\.fc(\d)\.(\w+)", "stage{1+1}.block{2+1}.conv{3+1}.{4}"),
    (r"stages\.(\d)\.downsample\.0\.(\w+)", "stage{1+1}.downsample.ln1.{2}"),
    (r"stages\.(\d)\.downsample\.1\.(\w+)", "stage{1+1}.downsample.conv1.{2}"),
    (r"head\.norm\.(\w+)", "ln2.{1}"),
    (r"head\.fc\.(\w+)", "dense1.{1}"),
]

REGNET = [
    (r"stem\.0\.(\w+)", "conv1.{1}"),
    (r"stem\.1\.(\w+)", "bn1.{1}"),
    (r"trunk_output\.block(\d)\.block\d-(\d+)\.proj\.0\.(\w+)", "stage{1}.block{2+1}.shortcut.conv1.{3}"),
    (r"trunk_output\.block(\d)\.block\d-(\d+)\.proj\.1\.(\w+)", "stage{1}.block{2+1}.shortcut.bn1.{3}"),
    (r"trunk_output\.block(\d)\.block\d-(\d+)\.f\.[abc]\.0\.(\w+)", "stage{1}.block{2+1}.conv*.{3}"),
    (r"trunk_output\.block(\d)\.block\d-(\d+)\.f\.[abc]\.1\.(\w+)", "stage{1}.block{2+1}.bn*.{3}"),
    (r"trunk_output\.block(\d)\.block\d-(\d+)\.f\.se\.fc(\d)\.(\w+)", "stage{1}.block{2+1}.se.gate.conv{3}.{4}"),
    (r"fc\.(\w+)", "dense1.{1}"),
]
REGNET_TIMM = [
    (r"stem\.(conv|bn)\.(\w+)", "{1}1.{2}"),
    (r"s(\d)\.b(\d+)\.conv(\d)\.(conv|bn)\.(\w+)", "stage{1}.block{2}.{4}{3}.{5}"),
    (r"s(\d)\.b(\d+)\.downsample\.(conv|bn)\.(\w+)", "stage{1}.block{2}.shortcut.{3}1.{4}"),
    (r"s(\d)\.b(\d+)\.se\.fc(\d)\.(\w+)", "stage{1}.block{2}.se.gate.conv{3}.{4}"),
    (r"head\.fc\.(\w+)", "dense1.{1}"),
]

# Zoo family -> layout -> rules. timm names ResNets, DenseNets and Inception v3 as torchvision does.
LAYOUTS: dict[str, dict[str, list[Rule]]] = {
    "alexnet": {"torchvision": ALEXNET},
    "vgg": {"torchvision": VGG, "timm": VGG_TIMM},
    "googlenet": {"torchvision": GOOGLENET},
    "inception": {"torchvision": INCEPTION},
    "resnet": {"torchvision": RESNET},
    "senet": {"timm": RESNET},
    "squeezenet": {"torchvision": SQUEEZENET},
    "densenet": {"torchvision": DENSENET},
    "xception": {"timm": XCEPTION},
    "mobilenet": {"torchvision": MOBILENET, "timm v1": MOBILENET_V1_TIMM, "timm": EFFICIENTNET_TIMM,
                  "timm v3": MOBILENET_V3_TIMM},
    "efficientnet": {"torchvision": EFFICIENTNET, "timm": EFFICIENTNET_TIMM, "lite0": LITE0_PACKAGE},
    "convnext": {"torchvision": CONVNEXT, "timm": CONVNEXT_TIMM},
    "regnet": {"torchvision": REGNET, "timm": REGNET_TIMM},
}  # fmt: skip


def rename_keys(keys: Iterable[str], ours: Iterable[str], rules: list[Rule]) -> dict[str, str | None]:
    """Each of their `keys` with the one of `ours` that the rules give it; None where no rule or no tensor fits.

    >>> rename_keys(["features.3.bias", "features.0.bias"], ["conv1.bias", "conv2.bias"], ALEXNET)
    {'features.0.bias': 'conv1.bias', 'features.3.bias': 'conv2.bias'}
    """
    full = {name.replace(".main.", "."): name for name in ours}
    patterns = [(re.compile(theirs), name) for theirs, name in rules]
    waiting: dict[str, Iterator[str]] = {}
    taken: set[str] = set()
    found: dict[str, str | None] = {}
    for key in sorted(keys, key=make_natural_key):
        found[key] = None
        for pattern, template in patterns:
            if not (match := pattern.fullmatch(key)):
                continue
            wanted = fill_template(template, match)
            if wanted not in waiting:
                choice = re.compile(wanted.replace(".", r"\.").replace("*", r"[^.]+"))
                waiting[wanted] = iter([name for name in full if choice.fullmatch(name)])
            # Two of our names with wild cards may lead to one tensor.
            name = next((name for name in waiting[wanted] if name not in taken), None)
            if name is not None:
                taken.add(name)
                found[key] = full[name]
            break
    return found


def fill_template(template: str, match: re.Match[str]) -> str:
    """`template` with the groups of `match` in place of {1} and, plus one, of {1+1}."""
    parts = re.split(r"\{(\d)(\+1)?\}", template)
    out = parts[0]
    for group, plus, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        value = match[int(group)]
        out += (str(int(value) + 1) if plus else value) + rest
    return out


def make_natural_key(key: str) -> list[tuple[int, int, str]]:
    """A sort key in which features.2 comes before features.10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", key) if part]
