"""The page in a real browser, over the networks that ship."""

import io
import json
import os
import shutil

import numpy as np
import pytest
from picture_bytes import encoded
from PIL import Image

from p2net_tf.detection.opening import SHIPPED, open_detector
from p2net_tf.estimator import PoseEstimator
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.serving.webapp.answers import PhotoAnswers
from p2net_tf.serving.webapp.server import WebApp

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
"""A green picture with a clock, and nobody is asked."""
LONGEST = 60_000
"""Milliseconds for an answer on a busy machine."""


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the page is tried with playwright: pip install playwright"
    )
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=program, args=["--no-sandbox", *CAMERA])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pose():
    return PoseEstimator.from_preset("p2net_small_lsp")


@pytest.fixture(scope="module")
def address(pose):
    answers = PhotoAnswers(pose, EvaluationConfig(), open_detector(SHIPPED), title="p2net_small_lsp")
    with WebApp(answers, port=0) as page:
        yield page.url


@pytest.fixture
def page(browser, address):
    """Opened anew; any error of its script fails the test, and so does a request to another machine."""
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    page.set_default_timeout(LONGEST)
    errors, requests = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    page.wait_for_selector("#keypoint option:nth-child(2)", state="attached")
    yield page
    page.close()
    assert errors == []
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def skier(data_root) -> str:
    path = data_root / "coco_tiny/val2017/000000000785.jpg"
    return os.fspath(path)


@pytest.fixture(scope="module")
def expected(pose, skier):
    (poses,) = pose.predict(skier)
    assert len(poses) > 1
    return poses


def send(page, file) -> None:
    """Gives it to the page, and waits for what comes of it."""
    page.set_input_files("#file", file)
    page.wait_for_selector("body:not(.busy)")


def numbers(page, selector, *names) -> np.ndarray:
    found = page.query_selector_all(selector)
    return np.array([[float(one.get_attribute(name)) for name in names] for one in found])


def test_people_are_drawn_and_downloaded(page, skier, expected):
    send(page, skier)
    order = np.argsort(expected.scores)  # the best one is on top
    boxes = numbers(page, "#picture .box", "x", "y", "width", "height")
    np.testing.assert_allclose(boxes, expected.boxes[order], atol=1e-3)
    limbs = numbers(page, "#picture .limb", "x1", "y1").reshape(len(expected), -1, 2)
    starts = [limb.start for limb in expected.skeleton.limbs]
    np.testing.assert_allclose(limbs, expected.keypoints[order][:, starts], atol=1e-2)
    assert page.inner_text("#people-title") == f"{len(expected)} people"
    chosen = page.inner_text("#people [aria-pressed=true]")
    assert chosen == f"{expected.scores.argmax() + 1} · {expected.scores.max():.2f}"
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "predictions.json"
    with open(download.value.path(), encoding="utf-8") as file:
        found = json.load(file)
    wanted = expected.to_coco(1, file_name="000000000785.jpg")
    assert [entry.keys() for entry in found] == [entry.keys() for entry in wanted]
    for entry, other in zip(found, wanted, strict=True):
        assert (entry["image_id"], entry["category_id"], entry["file_name"]) == (1, 1, "000000000785.jpg")
        np.testing.assert_allclose(entry["keypoints"], other["keypoints"], atol=1e-2)
        np.testing.assert_allclose(
            [entry["score"], *entry["box"]], [other["score"], *other["box"]], rtol=1e-4
        )


def test_the_heatmap_of_a_keypoint_and_the_gates(page, pose, skier, expected):
    send(page, skier)
    page.click("#people button:nth-child(2)")
    page.wait_for_selector("body:not(.busy)")
    page.select_option("#keypoint", label="left knee")
    k = expected.skeleton.index("left_knee")
    maps = pose.heatmaps(skier, expected.boxes[1:2])
    (window,) = numbers(page, "#heat .heatmap", "x", "y", "width", "height")
    np.testing.assert_allclose(window, maps.windows[0], atol=1e-2)
    (mark,) = numbers(page, "#heat .mark", "cx", "cy")
    np.testing.assert_allclose(mark, expected.keypoints[1, k], atol=1e-2)
    assert page.inner_text("#highest").endswith(f"its highest value, {maps['left_knee'].max():.3f}.")
    gates = pose.attention_gates(skier, expected.boxes[1:2])
    charts = page.query_selector_all("#gates svg")
    assert len(charts) == 4
    for chart, values in zip(charts, gates.values(), strict=True):
        heights = [float(bar.get_attribute("height")) for bar in chart.query_selector_all("rect")]
        np.testing.assert_allclose(heights, values[0], atol=1e-4)
    page.select_option("#keypoint", label="none")
    assert page.query_selector_all("#heat .heatmap") == []


def test_the_heatmap_is_seen_at_its_place(page, skier, expected):
    """Of the pixels on the screen: they turn warm at the keypoint, and grey far away from it."""
    send(page, skier)
    best = int(expected.scores.argmax())
    k = int(expected.keypoint_scores[best].argmax())
    page.select_option("#keypoint", value=str(k))
    picture = page.locator("#picture")
    seen = np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("RGB")).astype(int)
    scale = seen.shape[1] / Image.open(skier).width
    x, y = np.int64(scale * expected.keypoints[best, k])
    patch = seen[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(axis=0)
    corner = seen[-40:-20, -40:-20].reshape(-1, 3)
    assert patch[0] - patch[2] > 40
    assert np.ptp(corner, axis=1).max() <= 3


@pytest.mark.parametrize(
    ("name", "contents", "words"),
    [
        ("diary.txt", b"Dear diary,", "diary.txt: is a text file, not an image"),
        ("<b>.jpg", b"", "<b>.jpg: empty file"),
        ("clip.mp4", b"\0\0\0\x18ftypmp42" + bytes(500), "clip.mp4: is a video, which `p2net predict` takes"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(page, skier, name, contents, words):
    send(page, skier)
    send(page, {"name": name, "mimeType": "image/jpeg", "buffer": contents})
    assert page.inner_text("#problem").startswith(words)
    assert not page.is_visible("#picture") and not page.is_visible("#panel")
    send(page, skier)
    assert page.is_visible("#picture") and not page.is_visible("#problem")


def test_a_scene_without_people_says_so(page):
    fog = encoded(np.full((300, 400, 3), 120, np.uint8))
    send(page, {"name": "fog.png", "mimeType": "image/png", "buffer": fog})
    assert page.inner_text("#status") == "Nobody found in this picture."
    assert "--detector whole_image" in page.inner_text("#nobody")
    assert page.is_visible("#picture") and not page.is_visible("#panel")


def test_the_camera(page):
    page.click("#use-camera")
    page.wait_for_selector("#video")
    page.wait_for_timeout(500)  # its first frame
    page.click("#shoot")
    page.wait_for_selector("#picture .photo", state="attached")
    page.wait_for_selector("body:not(.busy)")
    assert not page.is_visible("#camera")
    assert page.get_attribute("#picture", "aria-label").startswith("camera.jpg: ")


@pytest.mark.parametrize("width", [390, 1366])
def test_nothing_is_wider_than_the_screen(page, skier, width):
    page.set_viewport_size({"width": width, "height": 800})
    send(page, skier)
    page.select_option("#keypoint", index=1)
    boxes = [page.locator(name).bounding_box() for name in ("header", "#picture", "#panel", "#download")]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    below = boxes[2]["y"] > boxes[1]["y"] + boxes[1]["height"]
    assert below == (width == 390)
