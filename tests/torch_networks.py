"""The published networks in PyTorch, written anew from their papers and the names of their weights."""

import numpy as np
import torch
from official_states import RESNET_BLOCKS
from torch import nn


def conv_bn(inputs, outputs, kernel, stride=1, relu=False):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *[nn.ReLU()] * relu)


class Residual(nn.Module):
    """3x3-3x3, or 1x1-3x3-1x1 with four times the width, whose 3x3 (Caffe: first 1x1) strides."""

    def __init__(self, inputs, width, stride=1, bottleneck=False, caffe=False):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        first = stride if caffe else 1
        shapes = [(inputs, width, 3, stride), (width, width, 3, 1)]
        if bottleneck:
            shapes = [(inputs, width, 1, first), (width, width, 3, stride // first), (width, outputs, 1, 1)]
        self.count = len(shapes)
        for number, (before, after, kernel, step) in enumerate(shapes, start=1):
            padding = kernel // 2
            setattr(self, f"conv{number}", nn.Conv2d(before, after, kernel, step, padding, bias=False))
            setattr(self, f"bn{number}", nn.BatchNorm2d(after))
        if inputs != outputs or stride > 1:
            self.downsample = conv_bn(inputs, outputs, 1, stride)
        else:
            self.downsample = nn.Identity()

    def forward(self, x):
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = y if number == self.count else y.relu()
        return (y + self.downsample(x)).relu()


def bottlenecks(inputs, width, count, stride=1, caffe=False):
    first = Residual(inputs, width, stride, bottleneck=True, caffe=caffe)
    return nn.Sequential(first, *[Residual(4 * width, width, bottleneck=True) for _ in range(count - 1)])


class PoseResNet(nn.Module):
    """SimpleBaseline (Xiao et al., ECCV 2018)."""

    def __init__(self, depth, keypoints=17, caffe=False):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for stage, count in enumerate(RESNET_BLOCKS[depth], start=1):
            width = 32 * 2**stage
            layer = bottlenecks(channels, width, count, 2 if stage > 1 else 1, caffe)
            self.add_module(f"layer{stage}", layer)
            channels = 4 * width
        grow = []
        for inputs in (channels, 256, 256):
            deconv = nn.ConvTranspose2d(inputs, 256, 4, 2, 1, bias=False)
            grow += [deconv, nn.BatchNorm2d(256), nn.ReLU()]
        self.deconv_layers = nn.Sequential(*grow)
        self.final_layer = nn.Conv2d(256, keypoints, 1)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for stage in (1, 2, 3, 4):
            x = getattr(self, f"layer{stage}")(x)
        return self.final_layer(self.deconv_layers(x))


class Fusion(nn.ModuleList):
    """From all branches to one: strided 3x3 convolutions from finer ones, 1x1 and nearest from coarser."""

    def __init__(self, widths, target):
        super().__init__(self._path(widths, source, target) for source in range(len(widths)))

    @staticmethod
    def _path(widths, source, target):
        if source == target:
            return nn.Identity()
        if source > target:
            grow = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
            return nn.Sequential(*conv_bn(widths[source], widths[target], 1), grow)
        steps = [conv_bn(widths[source], widths[source], 3, 2, relu=True) for _ in range(target - source - 1)]
        return nn.Sequential(*steps, conv_bn(widths[source], widths[target], 3, 2))

    def forward(self, maps):
        return sum(path(x) for path, x in zip(self, maps, strict=True)).relu()


class Module(nn.Module):
    def __init__(self, widths, outputs):
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*[Residual(w, w) for _ in range(4)]) for w in widths)
        self.fuse_layers = nn.ModuleList(Fusion(widths, target) for target in range(outputs))

    def forward(self, maps):
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [fusion(maps) for fusion in self.fuse_layers]


class PoseHRNet(nn.Module):
    """HRNet (Sun et al., CVPR 2019)."""

    def __init__(self, width, keypoints=17):
        super().__init__()
        self.conv1, self.bn1 = conv_bn(3, 64, 3, 2)
        self.conv2, self.bn2 = conv_bn(64, 64, 3, 2)
        self.layer1 = bottlenecks(64, 64, 4)
        widths = [256]
        for stage, modules in ((2, 1), (3, 4), (4, 3)):
            before, widths = widths, [width * 2**branch for branch in range(stage)]
            kept = [
                nn.Identity() if old == new else conv_bn(old, new, 3, relu=True)
                for old, new in zip(before, widths, strict=False)
            ]
            added = nn.Sequential(conv_bn(before[-1], widths[-1], 3, 2, relu=True))
            self.add_module(f"transition{stage - 1}", nn.ModuleList([*kept, added]))
            outputs = [1 if (stage, number) == (4, 2) else stage for number in range(modules)]
            self.add_module(f"stage{stage}", nn.Sequential(*[Module(widths, count) for count in outputs]))
        self.final_layer = nn.Conv2d(width, keypoints, 1)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        maps = [self.layer1(self.bn2(self.conv2(x)).relu())]
        for stage in (2, 3, 4):
            *kept, added = getattr(self, f"transition{stage - 1}")
            maps = [*(path(x) for path, x in zip(kept, maps, strict=True)), added(maps[-1])]
            maps = getattr(self, f"stage{stage}")(maps)
        return self.final_layer(maps[0])


def heatmaps(kind, size, state: dict, pixels, **options):
    """The heatmaps `[B, h, w, K]` of a network `kind(size, ...)` with the weights of `state`.

    Args:
        pixels: `[B, H, W, 3]` in 0..1, channels as the network was trained to read them.
    """
    with torch.device("meta"):  # where no weight is drawn
        network = kind(size, **options)
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    counters = {name: torch.tensor(0) for name in network.state_dict() if name.endswith("_tracked")}
    network.load_state_dict(tensors | counters, assign=True)
    normalized = (pixels - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    with torch.no_grad():
        found = network.eval()(torch.from_numpy(normalized).permute(0, 3, 1, 2))
    return found.permute(0, 2, 3, 1).numpy()
