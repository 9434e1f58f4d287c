"""Everybody in a picture by two TFLite files of `p2net export --format tflite`: of a detector and of poses.

With find_pose.py beside it it stands alone: numpy, pillow and ai-edge-litert are all it needs.

    python find_people.py DETECTOR_FOLDER POSE_FOLDER photo.jpg        # the folders that were written, .../1
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from find_pose import PoseFinder
from PIL import Image


class PersonFinder:
    """Finds the boxes of the people in a picture.

    Args:
        model: the `.tflite` file of a detector.
        card: `model_card.json` beside it: the size of the picture, and which scores are likely people.
    """

    def __init__(self, model: str, card: dict, threads: int = 4):
        self.side, self.longer_side, self.antialias = card["side"], card["longer_side"], card["antialias"]
        self.padding_color = card["padding_color"]
        self.person, self.likely_score = card["classes"].index("person"), card["likely_score"]
        self._run = Interpreter(model, num_threads=threads).get_signature_runner()

    def find(self, image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """Boxes `[n, 4]` x, y, width, height in pixels of the picture, and their scores `[n]`, best first."""
        canvas, scale = self._canvas(np.asarray(image, np.float32))
        found = self._run(pictures=canvas[None])
        likely = (found["scores"] > self.likely_score) & (found["classes"] == self.person)
        corners = found["boxes"][likely]
        corners[:, 2:] += corners[:, :2]
        corners = np.clip(corners / np.tile(scale, 2), 0, np.tile(image.size, 2))
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        seen = (boxes[:, 2:] > 0).all(axis=1)
        return boxes[seen], found["scores"][likely][seen]

    def _canvas(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The picture at the top left of a square `[S, S, 3]` uint8, and its factors (x, y)."""
        sides = np.array(pixels.shape[:2])
        size = np.maximum((sides * (self.longer_side / sides.max())).astype(int), 1)
        rows, columns = (_scaling(length, to, self.antialias) for length, to in zip(sides, size, strict=True))
        scaled = np.einsum("hi,ijc,wj->hwc", rows, pixels, columns, optimize=True)
        canvas = np.empty((self.side, self.side, 3), np.uint8)
        canvas[:] = self.padding_color
        canvas[: size[0], : size[1]] = np.rint(scaled)
        return canvas, (size / sides)[::-1]


def _scaling(length: int, size: int, antialias: bool) -> np.ndarray:
    """`[size, length]` weights of linear interpolation, over the pixels that become one where `antialias`."""
    step = length / size
    reach = max(step, 1.0) if antialias else 1.0
    distance = np.abs((np.arange(size)[:, None] + 0.5) * step - (np.arange(length) + 0.5))
    weights = np.maximum(0.0, 1.0 - distance / reach)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def open_folder(folder: str, finder, precision: str):
    """A finder on the file of that precision."""
    card = json.loads((Path(folder) / "model_card.json").read_text(encoding="utf-8"))
    (model,) = Path(folder).glob(f"*_{precision}.tflite")
    return finder(str(model), card), card


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("detector", help="folder of a detector")
    parser.add_argument("pose", help="folder of a pose network")
    parser.add_argument("image")
    parser.add_argument("--precision", default="float32", choices=["float32", "float16", "int8"])
    arguments = parser.parse_args()
    people, _ = open_folder(arguments.detector, PersonFinder, arguments.precision)
    poses, card = open_folder(arguments.pose, PoseFinder, arguments.precision)
    image = poses.open(arguments.image)
    boxes, scores = people.find(image)
    print(f"{len(boxes)} people")
    for box, certainty, pose in zip(boxes, scores, poses.find_people(image, boxes), strict=True):
        print(f"\nbox {' '.join(f'{value:.0f}' for value in box)}, {certainty:.2f}; score {pose[2]:.2f}")
        for name, (x, y), height in zip(card["skeleton"]["keypoints"], *pose[:2], strict=True):
            print(f"{name:16} {x:8.1f} {y:8.1f}  {height:.2f}")


if __name__ == "__main__":
    main()
