"""COCO's own evaluation on dicts, without any code of ours."""

import contextlib
import copy
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def plain_evaluation(ground_truth, predictions, kind="keypoints", **params) -> COCOeval:
    gt = COCO()
    gt.dataset = copy.deepcopy(ground_truth)
    with contextlib.redirect_stdout(io.StringIO()):
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(copy.deepcopy(predictions)), kind)
        for name, value in params.items():
            setattr(evaluation.params, name, value)
        evaluation.evaluate()
    return evaluation


def plain_stats(ground_truth, predictions, kind="keypoints") -> np.ndarray:
    evaluation = plain_evaluation(ground_truth, predictions, kind)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats
