"""State dicts of random weights with the names and shapes of the published networks.

From `lib/models/pose_resnet.py` and `lib/models/pose_hrnet.py` of deep-high-resolution-net.pytorch.
"""

import numpy as np

from p2net_tf.convert.names import published_weights

RESNET_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def torch_shapes(network) -> dict:
    """Names and shapes of a Keras network's weights, as the published code and PyTorch have them."""
    axes = {4: (3, 2, 0, 1), 1: (0,)}
    weights = published_weights(network)
    return {name: tuple(w.shape[axis] for axis in axes[len(w.shape)]) for name, w in weights.items()}


def random_state(shapes: dict, seed: int = 0) -> dict:
    """`{name: float32 array}` of `{name: shape}`; signals keep about their size through the network."""
    rng = np.random.default_rng(seed)
    return {name: _draw(rng, name, shape).astype(np.float32) for name, shape in shapes.items()}


def _draw(rng, name, shape):
    if len(shape) == 4:
        inputs = shape[0] * shape[2] * shape[3] / 4 if "deconv" in name else np.prod(shape[1:])
        # What is summed up is smaller, or it would grow from block to block.
        gain = 0.2 if "fuse_layers" in name or ".conv2" in name else 0.8
        return rng.standard_normal(shape, np.float32) * np.sqrt(gain / inputs)
    if name.endswith("running_var"):
        return rng.uniform(0.7, 1.4, shape)
    # Gammas lie around 1, everything else around 0.
    around = 1.0 if name.endswith("weight") else 0.0
    return around + rng.uniform(-0.3, 0.3, shape)


def pose_resnet(depth: int, keypoints: int = 17) -> dict:
    """Names and shapes of SimpleBaseline."""
    shapes = _conv_bn("conv1", "bn1", (64, 3, 7, 7))
    channels = 64
    for stage, blocks in enumerate(RESNET_BLOCKS[depth], start=1):
        shapes |= _bottlenecks(f"layer{stage}", channels, 32 * 2**stage, blocks)
        channels = 4 * 32 * 2**stage
    for number in range(3):
        place = 3 * number
        # A transposed convolution has its inputs first.
        kernel = (channels if number == 0 else 256, 256, 4, 4)
        shapes |= _conv_bn(f"deconv_layers.{place}", f"deconv_layers.{place + 1}", kernel)
    return shapes | _head(256, keypoints)


def pose_hrnet(width: int, keypoints: int = 17) -> dict:
    """Names and shapes of HRNet."""
    shapes = _conv_bn("conv1", "bn1", (64, 3, 3, 3)) | _conv_bn("conv2", "bn2", (64, 64, 3, 3))
    shapes |= _bottlenecks("layer1", 64, 64, 4)
    shapes |= _conv_bn("transition1.0.0", "transition1.0.1", (width, 256, 3, 3))
    new_branches = {"transition1.1": (2 * width, 256), "transition2.2": (4 * width, 2 * width)}
    new_branches["transition3.3"] = (8 * width, 4 * width)
    for name, (outputs, inputs) in new_branches.items():
        shapes |= _conv_bn(f"{name}.0.0", f"{name}.0.1", (outputs, inputs, 3, 3))
    for stage, modules in {2: 1, 3: 4, 4: 3}.items():
        for number in range(modules):
            last = (stage, number) == (4, 2)
            shapes |= _hr_module(f"stage{stage}.{number}", width, stage, outputs=1 if last else stage)
    return shapes | _head(width, keypoints)


def _hr_module(name, width, branches, outputs):
    shapes = {}
    channels = [width * 2**branch for branch in range(branches)]
    for branch, c in enumerate(channels):
        for block in range(4):
            for conv in (1, 2):
                prefix = f"{name}.branches.{branch}.{block}"
                shapes |= _conv_bn(f"{prefix}.conv{conv}", f"{prefix}.bn{conv}", (c, c, 3, 3))
    for target in range(outputs):
        for source, c in enumerate(channels):
            fuse = f"{name}.fuse_layers.{target}.{source}"
            if source > target:
                shapes |= _conv_bn(f"{fuse}.0", f"{fuse}.1", (channels[target], c, 1, 1))
            for step in range(target - source):
                grown = channels[target] if step == target - source - 1 else c
                shapes |= _conv_bn(f"{fuse}.{step}.0", f"{fuse}.{step}.1", (grown, c, 3, 3))
    return shapes


def _bottlenecks(name, inputs, width, blocks):
    shapes = {}
    for block in range(blocks):
        kernels = [(width, inputs, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
        for conv, kernel in enumerate(kernels, start=1):
            shapes |= _conv_bn(f"{name}.{block}.conv{conv}", f"{name}.{block}.bn{conv}", kernel)
        if block == 0:
            downsample = f"{name}.0.downsample"
            shapes |= _conv_bn(f"{downsample}.0", f"{downsample}.1", (4 * width, inputs, 1, 1))
        inputs = 4 * width
    return shapes


def _conv_bn(conv, norm, kernel):
    channels = kernel[1] if "deconv" in conv else kernel[0]
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{conv}.weight": kernel} | {f"{norm}.{part}": (channels,) for part in parts}


def _head(channels, keypoints):
    return {"final_layer.weight": (keypoints, channels, 1, 1), "final_layer.bias": (keypoints,)}
