"""A person in a picture to keypoints by a TFLite file of `p2net export --format tflite`.

It stands alone: numpy, pillow and ai-edge-litert are all it needs.

    pip install numpy pillow ai-edge-litert
    python find_pose.py NAME_int8.tflite model_card.json photo.jpg 40 30 120 260
"""

import argparse
import json

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps


class PoseFinder:
    """Finds the pose in a box of a picture.

    Args:
        model: the `.tflite` file.
        card: `model_card.json` beside it: how large the crop is, and how it lies around a box.
    """

    def __init__(self, model: str, card: dict, threads: int = 4):
        self.height, self.width = card["input_size"]
        self.padding = card["box_padding"]
        self.pixel_index = card.get("alignment") == "pixel_index"
        self.upright = card["exif"] == "upright"
        interpreter = Interpreter(model, num_threads=threads)
        self._run = interpreter.get_signature_runner()
        self.batch = int(self._run.get_input_details()["crops"]["shape"][0])

    def open(self, path: str) -> Image.Image:
        """The picture as boxes and keypoints refer to it."""
        image = Image.open(path)
        image = ImageOps.exif_transpose(image) if self.upright else image
        if image.mode.startswith("I;16"):
            # Pillow cuts levels above 255 to white; the network has learned from the high byte.
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.mode in ("I", "F"):
            raise SystemExit(f"{path}: 32 bits a pixel, of unknown range; scale them to 8 and save as PNG")
        return image.convert("RGB")

    def find(self, image: Image.Image, box) -> tuple[np.ndarray, np.ndarray, float]:
        """Keypoints `[K, 2]` in image pixels, their scores `[K]` and the score of the pose.

        Args:
            box: x, y, width, height in pixels of the picture.
        """
        return self.find_people(image, [box])[0]

    def find_people(self, image: Image.Image, boxes) -> list[tuple[np.ndarray, np.ndarray, float]]:
        """`find` of several boxes, as many at a time as the file takes (`p2net export --batch N`)."""
        windows = [self._window(box) for box in boxes]
        poses = []
        for start in range(0, len(windows), self.batch):
            part = windows[start : start + self.batch]
            crops = np.zeros(
                (self.batch, self.height, self.width, 3), np.uint8
            )  # the last ones may be left over
            for row, window in enumerate(part):
                crops[row] = self._crop(image, *window)
            found = self._run(crops=crops)
            for row, (left, top, scale) in enumerate(part):
                keypoints = found["keypoints"][row] * scale + (left, top)
                poses.append((keypoints, found["keypoint_scores"][row].copy(), float(found["scores"][row])))
        return poses

    def _window(self, box) -> tuple[float, float, float]:
        """Corner of the window in the picture, and picture pixels per crop pixel."""
        x, y, width, height = box
        window_width = max(width, height * self.width / self.height) * self.padding
        window_height = window_width * self.height / self.width
        left, top = x + (width - window_width) / 2, y + (height - window_height) / 2
        scale = window_width / self.width
        # Published networks scale the indices of pixels, not their places.
        shift = (1 - scale) / 2 if self.pixel_index else 0
        return left + shift, top + shift, scale

    def _crop(self, image: Image.Image, left: float, top: float, scale: float) -> np.ndarray:
        """`[H, W, 3]` uint8; bilinear, black outside of the picture, as in training."""
        pixels = np.pad(np.asarray(image, np.float32), ((1, 1), (1, 1), (0, 0)))
        # Pixel i has its centre at i + 0.5; the border of zeros moves everything by one.
        x = left + scale * (np.arange(self.width) + 0.5) + 0.5
        y = top + scale * (np.arange(self.height) + 0.5) + 0.5
        rows = _interpolation(y, pixels.shape[0])
        columns = _interpolation(x, pixels.shape[1])
        crop = np.einsum("hi,ijc,wj->hwc", rows, pixels, columns, optimize=True)
        return np.rint(crop).astype(np.uint8)


def _interpolation(places: np.ndarray, length: int) -> np.ndarray:
    """`[n, length]` weights of linear interpolation at `places`; those outside have none."""
    return np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(length))).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help=".tflite")
    parser.add_argument("card", help="model_card.json")
    parser.add_argument("image")
    parser.add_argument(
        "box", nargs="*", type=float, help="x y width height of each person; else the picture"
    )
    arguments = parser.parse_args()
    with open(arguments.card, encoding="utf-8") as file:
        card = json.load(file)
    finder = PoseFinder(arguments.model, card)
    image = finder.open(arguments.image)
    boxes = np.reshape(arguments.box or (0, 0, *image.size), (-1, 4))
    for keypoints, scores, score in finder.find_people(image, boxes):
        print(f"score {score:.2f}")
        for name, (x, y), certainty in zip(card["skeleton"]["keypoints"], keypoints, scores, strict=True):
            print(f"{name:16} {x:8.1f} {y:8.1f}  {certainty:.2f}")


if __name__ == "__main__":
    main()
