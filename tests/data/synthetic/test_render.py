"""The rendered set: what its annotations promise, checked against the pictures' own masks."""

import contextlib
import io
import json
import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from p2net_tf.data.coco import read_coco
from p2net_tf.data.samples import DataError
from p2net_tf.data.synthetic import render as synthetic
from p2net_tf.data.synthetic.figures import KEYPOINT_PARTS, PART, SKELETON, build_figure, sample_looks
from p2net_tf.data.synthetic.poses import sample_pose
from p2net_tf.data.synthetic.render import OCCLUDER, SceneOptions, annotate, render_scene, write_synthetic

IMAGES = 12
SMALL = SceneOptions(height=128, width=160)
TRUNCATED = SceneOptions(truncations=1.0)


def _keypoints(annotation):
    """`[17, 3]` in continuous coordinates; COCO names the pixel, whose centre lies 0.5 further."""
    keypoints = np.array(annotation["keypoints"]).reshape(17, 3)
    return keypoints + np.array([0.5, 0.5, 0.0]) * (keypoints[:, 2:] > 0)


def _mask(annotation):
    return coco_mask.decode(annotation["segmentation"]).astype(bool)


def _scenes(options=synthetic.DEFAULT_OPTIONS, count=IMAGES, seed=3):
    return [render_scene(seed, index, options) for index in range(count)]


def _annotations(**kwargs):
    return [annotation for _, annotations in _scenes(**kwargs) for annotation in annotations]


def _files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _standing_person():
    """A frontal person with the arms off the body, 200 pixels high in an image of 256x256."""
    rng = np.random.default_rng(5)
    pose = replace(sample_pose(rng, 0.0), kind="standing", lean=0.0, yaw=0.0, head_yaw=0.0, shoulder_tilt=0.0)
    pose = replace(pose, head_tilt=0.0, legs_in_front=False)
    pose = replace(pose, arms=_spread_arms(pose), legs=_straight_legs(pose))
    figure = build_figure(pose, sample_looks(rng)).placed(200.0, np.array([128.0, 120.0]))
    return figure, synthetic.part_buffer(figure.shapes, 256, 256)


def _spread_arms(pose):
    arms = {}
    for side, sign in (("left", 1), ("right", -1)):
        arms[side] = replace(pose.arms[side], upper=60.0 * sign, lower=60.0 * sign, behind=False)
    return arms


def _straight_legs(pose):
    return {
        side: replace(leg, upper=8.0 * sign, lower=8.0 * sign, upper_length=1.0)
        for (side, leg), sign in zip(pose.legs.items(), (1, -1), strict=True)
    }


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic")
    write_synthetic(root, IMAGES, seed=1, options=SMALL)
    return root


class TestRenderScene:
    def test_same_seed_and_index_give_the_same_bytes(self):
        first, second = render_scene(11, 4), render_scene(11, 4)
        np.testing.assert_array_equal(first[0], second[0])
        assert first[1] == second[1]

    @pytest.mark.parametrize("seed, index", [(12, 4), (11, 5)])
    def test_another_seed_or_index_gives_another_picture(self, seed, index):
        assert np.mean(render_scene(11, 4)[0] != render_scene(seed, index)[0]) > 0.5

    def test_size_and_type(self):
        image, annotations = render_scene(0, 0, SceneOptions(height=200, width=300))
        assert image.shape == (200, 300, 3) and image.dtype == np.uint8
        assert annotations[0]["segmentation"]["size"] == [200, 300]

    def test_number_of_persons(self):
        counts = [len(annotations) for _, annotations in _scenes(count=30)]
        assert set(counts) == {1, 2, 3}
        assert {len(annotations) for _, annotations in _scenes(SceneOptions(max_persons=1))} == {1}

    @pytest.mark.parametrize("options", [synthetic.DEFAULT_OPTIONS, TRUNCATED], ids=["default", "truncated"])
    def test_box_and_area_are_those_of_the_mask(self, options):
        for annotation in _annotations(options=options):
            x, y, width, height = annotation["bbox"]
            assert x >= 0 and y >= 0 and x + width <= options.width and y + height <= options.height
            mask = _mask(annotation)
            assert annotation["area"] == mask.sum() > 0
            rows, columns = np.nonzero(mask)
            # A pixel reaches from its index to index + 1.
            assert [x, y, x + width, y + height] == [
                columns.min(), rows.min(), columns.max() + 1, rows.max() + 1,
            ]  # fmt: skip

    @pytest.mark.parametrize("options", [synthetic.DEFAULT_OPTIONS, TRUNCATED], ids=["default", "truncated"])
    def test_labeled_keypoints_lie_on_the_person_and_are_counted(self, options):
        for annotation in _annotations(options=options):
            keypoints = _keypoints(annotation)
            labeled = keypoints[:, 2] > 0
            assert annotation["num_keypoints"] == labeled.sum()
            assert np.all(keypoints[~labeled] == 0)
            columns, rows = keypoints[labeled, :2].astype(int).T
            assert np.all(_mask(annotation)[rows, columns])

    def test_truncated_people_have_keypoints_without_label(self):
        visibility = np.concatenate([_keypoints(a)[:, 2] for a in _annotations(options=TRUNCATED)])
        assert set(visibility) == {0, 1, 2}

    def test_whole_people_have_every_keypoint(self):
        whole = SceneOptions(truncations=0.0)
        assert {annotation["num_keypoints"] for annotation in _annotations(options=whole)} == {17}

    def test_most_keypoints_are_visible(self):
        visibility = np.concatenate([_keypoints(a)[:, 2] for a in _annotations(count=40)])
        assert 0.75 < np.mean(visibility == 2) < 0.97

    def test_facing_the_viewer_left_is_on_the_right_of_the_image(self):
        frontal, behind = SceneOptions(back_views=0.0), SceneOptions(back_views=1.0)
        left, right = SKELETON.index("left_shoulder"), SKELETON.index("right_shoulder")
        for options, sign in ((frontal, 1), (behind, -1)):
            for annotation in _annotations(options=replace(options, truncations=0.0)):
                keypoints = _keypoints(annotation)
                assert sign * (keypoints[left, 0] - keypoints[right, 0]) > 0

    def test_a_back_of_a_head_hides_the_face(self):
        annotations = _annotations(options=SceneOptions(back_views=1.0, truncations=0.0))
        assert all(np.all(_keypoints(annotation)[:3, 2] == 1) for annotation in annotations)

    @pytest.mark.parametrize(
        "values", [{"height": 10}, {"max_persons": 0}, {"occluders": 1.5}, {"person_height": (0.5, 0.2)}]
    )
    def test_options_out_of_range_are_named(self, values):
        with pytest.raises(ValueError, match=next(iter(values))):
            SceneOptions(**values)


class TestVisibility:
    wrist = SKELETON.index("left_wrist")

    def _visibility(self, owner_at_wrist=None, parts_at_wrist=None):
        figure, parts = _standing_person()
        x, y = figure.keypoints[self.wrist].astype(int)
        patch = slice(y - 2, y + 3), slice(x - 2, x + 3)
        owner = synthetic.owner_buffer([parts])
        if owner_at_wrist is not None:
            owner[patch] = owner_at_wrist
        if parts_at_wrist is not None:
            parts[patch] = PART[parts_at_wrist]
        return _keypoints(annotate(figure, parts, owner, 1))[:, 2]

    def test_all_visible(self):
        assert np.all(self._visibility() == 2)

    @pytest.mark.parametrize("thing", [OCCLUDER, 2], ids=["occluder", "other person"])
    def test_something_before_the_wrist_hides_only_the_wrist(self, thing):
        visibility = self._visibility(owner_at_wrist=thing)
        assert visibility[self.wrist] == 1
        assert np.all(np.delete(visibility, self.wrist) == 2)

    @pytest.mark.parametrize("part, expected", [("right_forearm", 1), ("torso", 1), ("left_hand", 2)])
    def test_the_own_body_hides_too(self, part, expected):
        assert self._visibility(parts_at_wrist=part)[self.wrist] == expected

    def test_later_person_lies_on_top(self):
        _, parts = _standing_person()
        shifted = np.roll(parts, 20, axis=1)
        owner = synthetic.owner_buffer([parts, shifted])
        assert np.all(owner[shifted > 0] == 2)
        assert np.all(owner[(parts > 0) & (shifted == 0)] == 1)

    def test_every_keypoint_can_be_seen_on_some_part_of_its_side(self):
        right = KEYPOINT_PARTS[SKELETON.index("right_wrist")]
        assert right == {PART["right_forearm"], PART["right_hand"]}
        assert len(KEYPOINT_PARTS) == 17 and all(KEYPOINT_PARTS)


class TestSubpixel:
    def test_annotated_keypoints_are_the_joints_half_a_pixel_less(self):
        figure, parts = _standing_person()
        annotation = annotate(figure, parts, synthetic.owner_buffer([parts]), 1)
        stored = np.array(annotation["keypoints"]).reshape(17, 3)[:, :2]
        np.testing.assert_allclose(stored, figure.keypoints - 0.5, atol=0.0051)

    def test_a_square_of_whole_pixels_fills_exactly_these(self):
        canvas = np.zeros((8, 8), np.uint8)
        # OpenCV fills the outline too; the corners are pixel centres (rows 2..4, columns 3..5).
        synthetic.fill(canvas, np.array([[3.5, 2.5], [5.5, 2.5], [5.5, 4.5], [3.5, 4.5]]), 9, smooth=False)
        expected = np.zeros((8, 8), np.uint8)
        expected[2:5, 3:6] = 9
        np.testing.assert_array_equal(canvas, expected)

    def test_eyes_are_drawn_where_the_keypoints_are(self):
        figure, _ = _standing_person()
        canvas = np.full((256, 256, 3), 128, np.uint8)
        synthetic._paint(canvas, figure.shapes)
        for row in (SKELETON.index("left_eye"), SKELETON.index("right_eye")):
            x, y = figure.keypoints[row]
            patch = canvas[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3].mean(axis=-1)
            darkness = np.clip(110 - patch, 0, None)
            rows, columns = np.mgrid[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] + 0.5
            assert abs((darkness * columns).sum() / darkness.sum() - x) < 0.3
            assert abs((darkness * rows).sum() / darkness.sum() - y) < 0.3


class TestWriteSynthetic:
    def test_pycocotools_reads_it(self, rendered):
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(rendered / "annotations" / "person_keypoints_train.json"))
        assert coco.getCatIds(catNms=["person"]) == [1]
        assert coco.loadCats(1)[0]["keypoints"] == list(SKELETON.keypoints)
        images = coco.loadImgs(coco.getImgIds())
        assert [image["file_name"] for image in images] == [f"{row:012d}.jpg" for row in range(1, IMAGES + 1)]
        assert all((image["height"], image["width"]) == (128, 160) for image in images)
        assert {a["image_id"] for a in coco.anns.values()} == set(coco.imgs)
        for annotation in coco.anns.values():
            assert coco.annToMask(annotation).sum() == annotation["area"]
            assert annotation["iscrowd"] == 0

    def test_our_own_reader_puts_the_keypoints_where_they_were_drawn(self, rendered):
        samples = read_coco(rendered, "train")
        assert samples.problems == ()
        annotations = json.loads((rendered / "annotations" / "person_keypoints_train.json").read_text())
        expected = np.stack([_keypoints(a) for a in annotations["annotations"]])
        np.testing.assert_allclose(samples.keypoints, expected, atol=1e-4)
        np.testing.assert_array_equal(samples.boxes, [a["bbox"] for a in annotations["annotations"]])

    def test_files_are_the_rendered_scenes(self, rendered):
        seed = synthetic.split_seed(1, "train")
        document = json.loads((rendered / "annotations" / "person_keypoints_train.json").read_text())
        for index in (0, IMAGES - 1):
            image, annotations = render_scene(seed, index, SMALL)
            stored = cv2.imread(str(rendered / "train" / f"{index + 1:012d}.jpg"))[..., ::-1]
            # JPEG at quality 92 moves a pixel by a few grey levels; swapped channels or images by dozens.
            assert np.abs(stored.astype(int) - image).mean() < 8
            assert [a for a in document["annotations"] if a["image_id"] == index + 1] == annotations

    def test_bytes_do_not_depend_on_place_or_workers(self, rendered, tmp_path):
        write_synthetic(tmp_path, IMAGES, seed=1, options=SMALL, workers=1)
        assert _files(tmp_path) == _files(rendered)
        assert len(_files(tmp_path)) == IMAGES + 1

    def test_splits_of_one_seed_share_no_picture(self, rendered, tmp_path):
        write_synthetic(tmp_path, IMAGES, seed=1, split="val", options=SMALL)
        train = {data for name, data in _files(rendered).items() if name.endswith(".jpg")}
        val = {data for name, data in _files(tmp_path).items() if name.endswith(".jpg")}
        assert len(train) == len(val) == IMAGES and not train & val

    def test_a_complete_set_is_left_alone(self, rendered, monkeypatch):
        monkeypatch.setattr(synthetic, "render_scene", lambda *_: pytest.fail("rendered again"))
        write_synthetic(rendered, IMAGES, seed=1, options=SMALL)

    @pytest.mark.parametrize(
        "images, seed, options, message",
        [
            (IMAGES, 2, SMALL, "seed 1, wanted 2"),
            (IMAGES + 1, 1, SMALL, f"images {IMAGES}, wanted {IMAGES + 1}"),
            (IMAGES, 1, replace(SMALL, width=192), "width 160, wanted 192"),
        ],
    )
    def test_another_set_is_refused(self, rendered, images, seed, options, message):
        before = _files(rendered)
        with pytest.raises(DataError, match=f"{re.escape(str(rendered))}.*{message}.*remove it"):
            write_synthetic(rendered, images, seed, options=options)
        assert _files(rendered) == before

    def test_foreign_folders_and_files_are_refused(self, tmp_path):
        (tmp_path / "a" / "train").mkdir(parents=True)
        with pytest.raises(DataError, match="exists without"):
            write_synthetic(tmp_path / "a", 1, 0)
        annotations = tmp_path / "b" / "annotations"
        annotations.mkdir(parents=True)
        for text, message in (("[", "not a COCO file"), ('{"info": {}}', "not rendered by p2net_tf")):
            (annotations / "person_keypoints_train.json").write_text(text)
            with pytest.raises(DataError, match=message):
                write_synthetic(tmp_path / "b", 1, 0)

    def test_missing_images_are_noticed(self, tmp_path):
        write_synthetic(tmp_path, 3, 0, options=SMALL)
        (tmp_path / "train" / "000000000002.jpg").unlink()
        with pytest.raises(DataError, match="holds 2 of 3 images; remove it"):
            write_synthetic(tmp_path, 3, 0, options=SMALL)

    def test_an_interrupted_rendering_leaves_nothing_and_can_be_repeated(self, tmp_path, monkeypatch):
        def interrupted(seed, index, options):
            if index == 2:
                raise KeyboardInterrupt
            return render_scene(seed, index, options)

        with monkeypatch.context() as patch:
            patch.setattr(synthetic, "render_scene", interrupted)
            with pytest.raises(KeyboardInterrupt):
                write_synthetic(tmp_path, 5, 0, options=SMALL, workers=1)
        assert _files(tmp_path) == {}
        write_synthetic(tmp_path, 5, 0, options=SMALL)
        assert len(_files(tmp_path)) == 6

    def test_a_crash_between_the_two_moves_is_healed(self, rendered, tmp_path):
        write_synthetic(tmp_path, IMAGES, seed=1, options=SMALL)
        (tmp_path / "train").rename(tmp_path / "gone")
        write_synthetic(tmp_path, IMAGES, seed=1, options=SMALL)
        shutil.rmtree(tmp_path / "gone")
        assert _files(tmp_path) == _files(rendered)

    @pytest.mark.parametrize("images, seed", [(0, 1), (1, -1)])
    def test_senseless_numbers_are_refused(self, tmp_path, images, seed):
        with pytest.raises(ValueError, match=f"images={images}, seed={seed}"):
            write_synthetic(tmp_path, images, seed)
