"""torchvision's Faster R-CNN and ours of its weights give the same boxes on real pictures of all sizes."""

import json
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from torchvision_peer import torch, torchvision
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.convert import detectors
from p2net_tf.convert.checkpoint import ConversionError
from p2net_tf.convert.detector_names import as_torchvision
from p2net_tf.convert.names import published_weights
from p2net_tf.detection.canvas import canvas_of
from p2net_tf.detection.coco_classes import COCO_80, COCO_91
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.inference.pictures import load_picture

BOX_TOLERANCE, PROPOSAL_TOLERANCE, SCORE_TOLERANCE = 1e-3, 1.5e-2, 1e-4
"""In pixels, of the second stage and of the first; the first is on the scaled picture."""
SMALL = {"min_size": 160, "max_size": 266}


def peer(classes: int, **sizes):
    torch.manual_seed(0)
    return torchvision.models.detection.fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=classes, **sizes
    )


def people(root, count: int) -> list:
    """`(path, boxes [n, 4] xyxy)` of pictures of coco_tiny with persons."""
    (file,) = (root / "coco_tiny" / "annotations").glob("person_keypoints_train2017*.json")
    document = json.loads(file.read_text())
    found = []
    for image in document["images"]:
        boxes = [
            a["bbox"] for a in document["annotations"] if a["image_id"] == image["id"] and not a["iscrowd"]
        ]
        if boxes:
            boxes = np.float32(boxes)
            path = next((root / "coco_tiny").rglob(image["file_name"]))
            found.append((path, np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)))
    return found[:count]


def tensor_of(picture):
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 255


def train(model, pictures, steps: int):
    """Some steps of torchvision's own training, so that scores and boxes are no ties."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    model.train()
    for step in range(steps):
        batch = [pictures[(2 * step + i) % len(pictures)] for i in range(2)]
        targets = [
            {"boxes": torch.from_numpy(boxes), "labels": torch.ones(len(boxes), dtype=torch.int64)}
            for _, boxes in batch
        ]
        loss = sum(model([tensor_of(load_picture(path)) for path, _ in batch], targets).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()


def spread(model, pictures):
    """Random weights whose scores and boxes differ: statistics of real pictures, and lively outputs."""
    with torch.no_grad():
        model.train()
        for path, _ in pictures[:4]:
            images, _ = model.transform([tensor_of(load_picture(path))])
            model.backbone(images.tensors)
        predictor = model.roi_heads.box_predictor
        predictor.cls_score.weight *= 30
        predictor.bbox_pred.weight *= 3
        model.rpn.head.cls_logits.weight *= 20
        model.rpn.head.bbox_pred.weight *= 10


def converted(model, **card) -> NetworkDetector:
    tensors = {
        name: value.numpy() for name, value in model.state_dict().items() if not name.endswith("tracked")
    }
    detector = detectors.detector_of_tensors(tensors, "state dict")
    return NetworkDetector(detector.network, detector.card.model_copy(update=card))


def detections(detector, picture, proposals):
    """`(corners [n, 4], scores [n], classes [n])` of all classes, in pixels, and our own proposals.

    Args:
        proposals: `[n, 4]` that the second stage looks at in place of our own.
    """
    card, network = detector.card, detector.network
    sides = card.shorter_side, card.longer_side
    canvas, size, scale = canvas_of(picture, *sides, network.stride, network.padding_value, card.antialias)
    own = {}

    def replaced(*arguments):
        own["boxes"], own["valid"] = (
            np.asarray(value)[0] for value in type(network)._proposals(network, *arguments)
        )
        return tf.constant(proposals[None]), tf.ones((1, len(proposals)), tf.bool)

    with mock.patch.object(network, "_proposals", replaced):
        found = {name: np.asarray(value)[0] for name, value in network(canvas, size).items()}
    valid = found["valid"]
    corners = found["boxes"][valid] / np.tile(scale[::-1], 2)
    return (corners, found["scores"][valid], found["classes"][valid]), own["boxes"][own["valid"]]


def torchvisions(model, picture):
    """Its `(labels, boxes, scores)`, and its proposals."""
    proposals = []
    hook = model.rpn.register_forward_hook(lambda module, args, result: proposals.extend(result[0]))
    with torch.no_grad():
        (found,) = model([tensor_of(picture)])
    hook.remove()
    return tuple(found[name].numpy() for name in ("labels", "boxes", "scores")), proposals[0].numpy()


def assert_same_boxes(model, detector, pictures) -> int:
    """Each stage by itself; returns how many boxes were compared.

    Of the thousands of anchors of a network that has hardly learned, some score as good as equally: which of
    two stays depends on the last digits, and with it whatever the second stage makes of it. So proposals are
    equal but for a few in a hundred, and of the same proposals all boxes are.
    """
    model.eval()
    count = 0
    for path, _ in pictures:
        picture = load_picture(path)
        (labels, boxes, scores), proposals = torchvisions(model, picture)
        (corners, our_scores, classes), our_proposals = detections(detector, picture, proposals)
        assert len(our_proposals) == len(proposals), path.name
        apart = np.abs(proposals[:, None] - our_proposals).max(axis=-1)
        for nearest in (apart.min(axis=0), apart.min(axis=1)):
            assert np.mean(nearest <= PROPOSAL_TOLERANCE) > 0.97, path.name
        assert len(corners) == len(boxes), path.name
        # Scores that are as good as equal may change places.
        error = np.abs(boxes[:, None] - corners).max(axis=-1)
        error[np.abs(scores[:, None] - our_scores) > SCORE_TOLERANCE] = np.inf
        error[labels[:, None] != classes + 1] = np.inf
        partner = error.argmin(axis=1) if len(boxes) else []
        assert len(set(partner)) == len(boxes)
        assert len(boxes) == 0 or error.min(axis=1).max() <= BOX_TOLERANCE, path.name
        count += len(boxes)
    return count


SOME = pytest.mark.parametrize("number", [3, pytest.param(20, marks=pytest.mark.long)])
"""Pictures of full size, of which each takes many seconds."""


@pytest.mark.slow
@SOME
def test_trained_weights(data_root, number):
    pictures = people(data_root, 20)
    model = peer(2)
    model.transform.min_size, model.transform.max_size = (160,), 266
    train(model, pictures, steps=30)
    model.transform.min_size, model.transform.max_size = (800,), 1333
    pictures = pictures[:number]
    assert len({load_picture(path).shape for path, _ in pictures}) > number // 4
    assert assert_same_boxes(model, converted(model), pictures) > 5 * number


@pytest.mark.slow
@SOME
def test_random_weights_of_91_classes(data_root, number):
    pictures = people(data_root, number)
    model = peer(91)
    spread(model, pictures)
    assert assert_same_boxes(model, converted(model), pictures) > 5 * number


@pytest.mark.slow
def test_a_file_of_the_published_kind(tmp_path, data_root):
    """With the names of before torchvision 0.13, and batch normalization without an epsilon by its name."""
    pictures = people(data_root, 2)
    model = peer(91, **SMALL)
    spread(model, pictures)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value *= 1e-4  # so that an epsilon of 1e-5 would be seen
            elif ".bn" in name or ".downsample.1" in name:
                value *= 1e-2 if name.endswith("weight") else 1
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0
    old = {
        name.replace(".0.weight", ".weight").replace(".0.bias", ".bias") if ".fpn." in name else name: value
        for name, value in model.state_dict().items()
    }
    old = {name.replace("rpn.head.conv.0.0.", "rpn.head.conv."): value for name, value in old.items()}
    assert "backbone.fpn.inner_blocks.0.weight" in old and "rpn.head.conv.weight" in old
    torch.save(old, tmp_path / "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth")
    said = CliRunner().invoke(
        app,
        [
            "import-weights",
            str(tmp_path / "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"),
            *("--model", "fasterrcnn_resnet50_fpn", "--out", str(tmp_path / "faster.keras"), "--json"),
        ],
    )
    assert said.exit_code == 0, said.output
    # torchvision's batch normalization is frozen, and its two values of 26,560 channels do not count there.
    assert json.loads(said.stdout)["parameters"] == 41_755_286 + 2 * 26_560
    detector = NetworkDetector.load(tmp_path / "faster.keras")
    assert detector.card.classes == COCO_91 and not detector.card.antialias
    detector = NetworkDetector(
        detector.network, detector.card.model_copy(update={"shorter_side": 160, "longer_side": 266})
    )
    assert_same_boxes(model, detector, pictures)


def test_names_and_shapes_are_torchvisions():
    import keras

    with torch.device("meta"):
        theirs = peer(91).state_dict()
    expected = {name: tuple(value.shape) for name, value in theirs.items() if not name.endswith("tracked")}
    with keras.StatelessScope(initialize_variables=False):
        network = detectors.FasterRCNN(num_classes=90)
    axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
    found = {
        name: tuple(weight.shape[axis] for axis in axes[len(weight.shape)])
        for name, weight in published_weights(network).items()
    }
    keras.utils.clear_session()
    assert found == expected


def test_classes_are_cocos():
    theirs = torchvision.models.detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    assert [name.replace("N/A", "-") for name in theirs[1:]] == list(COCO_91)


def test_what_is_no_such_state_dict():
    with pytest.raises(ConversionError, match="has no roi_heads.box_predictor.cls_score.weight"):
        detectors.detector_of_tensors({"conv1.weight": np.zeros((64, 3, 7, 7))}, "resnet50.pth")


@pytest.mark.parametrize(
    ("count", "names", "message"),
    [
        (5, None, "has 5 classes; give their names"),
        (2, ["person"], "has 2 classes, but got 1 names"),
        (1, ["cat"], "one of them 'person'"),
    ],
)
def test_names_must_fit_the_classes(count, names, message):
    tensors = {detectors._CLASSES: np.zeros((count + 1, 1024)), detectors._FIRST_DENSE: np.zeros((4, 98))}
    with pytest.raises(ConversionError, match=message):
        detectors.detector_of_tensors(tensors, "f.pth", names)


DETECTRON2 = {
    "backbone.body.conv1.": "backbone.bottom_up.stem.conv1.",
    "backbone.body.bn1.": "backbone.bottom_up.stem.conv1.norm.",
    "roi_heads.box_head.fc6": "roi_heads.box_head.fc1",
    "roi_heads.box_head.fc7": "roi_heads.box_head.fc2",
    "rpn.head.conv.0.0": "proposal_generator.rpn_head.conv",
    "rpn.head.cls_logits": "proposal_generator.rpn_head.objectness_logits",
    "rpn.head.bbox_pred": "proposal_generator.rpn_head.anchor_deltas",
    "downsample.0": "shortcut",
    "downsample.1": "shortcut.norm",
    **{f".bn{n}.": f".conv{n}.norm." for n in (1, 2, 3)},
    **{f"backbone.body.layer{n}": f"backbone.bottom_up.res{n + 1}" for n in (1, 2, 3, 4)},
    **{f"backbone.fpn.inner_blocks.{n}.0": f"backbone.fpn_lateral{n + 2}" for n in range(4)},
    **{f"backbone.fpn.layer_blocks.{n}.0": f"backbone.fpn_output{n + 2}" for n in range(4)},
}
MMDETECTION = {
    "roi_heads.box_head.fc6": "roi_head.bbox_head.shared_fcs.0",
    "roi_heads.box_head.fc7": "roi_head.bbox_head.shared_fcs.1",
    "roi_heads.box_predictor.cls_score": "roi_head.bbox_head.fc_cls",
    "roi_heads.box_predictor.bbox_pred": "roi_head.bbox_head.fc_reg",
    "rpn.head.conv.0.0": "rpn_head.rpn_conv",
    "rpn.head.cls_logits": "rpn_head.rpn_cls",
    "rpn.head.bbox_pred": "rpn_head.rpn_reg",
    "backbone.body.": "backbone.",
    **{f"backbone.fpn.inner_blocks.{n}.0": f"neck.lateral_convs.{n}.conv" for n in range(4)},
    **{f"backbone.fpn.layer_blocks.{n}.0": f"neck.fpn_convs.{n}.conv" for n in range(4)},
}
NAMINGS = {"detectron2": DETECTRON2, "mmdetection": MMDETECTION}
"""By hand, torchvision's to theirs: the other way round than what is tested."""


def renamed(name: str, naming: dict[str, str]) -> str:
    for ours, theirs in naming.items():
        name = name.replace(ours, theirs)
    return name


@pytest.mark.parametrize("whose", NAMINGS)
def test_names_of_others(whose):
    """Every tensor comes back under its name; the background, last there and without deltas, is the first."""
    with torch.device("meta"):
        shapes = {n: tuple(v.shape) for n, v in peer(4).state_dict().items() if not n.endswith("tracked")}
    random = np.random.default_rng(0)
    ours = {name: random.normal(size=(*shape[:2], *[1] * len(shape[2:]))) for name, shape in shapes.items()}
    theirs = {}
    for name, value in ours.items():
        if "cls_score" in name:
            value = np.concatenate([value[1:], value[:1]])
        elif "box_predictor.bbox_pred" in name:
            value[:4] = 0
            value = value[4:]
        elif name == "backbone.body.conv1.weight" and whose == "detectron2":
            value = value[:, ::-1]
        theirs[renamed(name, NAMINGS[whose])] = value
    theirs |= {"pixel_mean": np.zeros(3), "proposal_generator.anchor_generator.cell_anchors.0": np.zeros(3)}
    found, origin = as_torchvision(theirs)
    assert origin.name == whose
    assert found.keys() == ours.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(found[name], value, name)


def test_classes_of_others_are_counted_without_gaps():
    assert len(COCO_80) == 80 and COCO_80[0] == "person" and COCO_80[-1] == "toothbrush"
