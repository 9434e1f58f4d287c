"""Detectors of a size for tests. Widths keep clear of the oneDNN fault with 8 and 12 channels (design.md)."""

from p2net_tf.detection.networks import NETWORKS

_STAGES = {"proposals": 30, "training_candidates": 60, "candidates": 100, "max_detections": 10}
OPTIONS = {
    "faster_rcnn": {
        "backbone": "small",
        "small_width": 16,
        "small_blocks": 1,
        "pyramid_width": 16,
        "head_width": 16,
        "anchor_sizes": [8, 16, 32, 64, 96],
        **_STAGES,
    },
    "detnet": {
        "backbone": "small_detnet",
        "small_width": 16,
        "small_blocks": 1,
        "pyramid_width": 16,
        "head_width": 16,
        "anchor_sizes": [8, 16, 32, 64, 96],
        **_STAGES,
    },
    "tridentnet": {"small_width": 64, "trident_blocks": 2, "anchor_sizes": [16, 32, 64], **_STAGES},
    "one_stage": {
        "backbone": "small_detnet",
        "small_width": 16,
        "small_blocks": 1,
        "pyramid_width": 16,
        "head_depth": 1,
        "first_level": 2,
        "top": None,
        "anchor_sizes": [16, 32, 64],
        "max_detections": 10,
    },
}
OPTIONS["one_stage_normed"] = {**OPTIONS["one_stage"], "head_norm": True}
_KINDS = {"detnet": "faster_rcnn", "one_stage_normed": "one_stage"}


def tiny_detector(name: str, **options):
    """A `DetectionNetwork` of the kind `name`, a key of `OPTIONS`."""
    kind = NETWORKS[_KINDS.get(name, name)]
    return kind(**{**OPTIONS[name], **options})
