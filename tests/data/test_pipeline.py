import io

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from ten_people import AUGMENT, BATCH, CARD, COUNT, CROP, assert_same, numbers, people

from p2net_tf.augment.baseline import CropWindow, sample_window
from p2net_tf.augment.policies import Policy, Stage
from p2net_tf.augment.schedule import Knot, PolicySchedule, Share
from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.data.check import check_samples
from p2net_tf.data.crops import plain_crop, take_crop, warp
from p2net_tf.data.datasets import open_datasets, read_dataset
from p2net_tf.data.image_batches import WHOLE, InputShard
from p2net_tf.data.image_files import FileReader, decode_image
from p2net_tf.data.image_sources import ImageRecords
from p2net_tf.data.pipeline import evaluation_dataset, fit_dataset, training_batches, training_dataset
from p2net_tf.data.records import read_record_samples, write_records
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.keypoints import geometry


@pytest.fixture(params=["files", pytest.param("records", marks=pytest.mark.slow)])
def samples(request, tmp_path) -> Samples:
    """Of records quickly too: what `TestRecordsAsASource` and the resumed run ask of them."""
    made = people(tmp_path)
    if request.param == "files":
        return made
    write_records(made, tmp_path / "records", shards=3)
    return read_record_samples(tmp_path / "records")


def batches(samples, count, augment=AUGMENT, **options):
    return list(training_dataset(samples, CROP, BATCH, augment, **options).take(count))


class TestTraining:
    def test_everybody_once_per_epoch_but_for_the_remainder(self, samples):
        steps = COUNT // BATCH
        found = [numbers(crops) for crops, _ in batches(samples, 4 * steps, augment=None)]
        epochs = [sum(found[e * steps : (e + 1) * steps], []) for e in range(4)]
        assert all(len(set(epoch)) == steps * BATCH and set(epoch) <= set(range(COUNT)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == 4
        # The one who is left over differs, so everybody is seen.
        assert set().union(*epochs) == set(range(COUNT))

    @pytest.mark.slow
    @pytest.mark.parametrize("samples", ["files", "records"], indirect=True)
    def test_a_run_resumed_at_epoch_1_goes_on_with_its_order_and_draws(self, samples):
        """Whatever TensorFlow's own seed is."""
        tf.random.set_seed(1)
        straight = batches(samples, 6, seed=5)
        tf.random.set_seed(2)
        assert_same(batches(samples, 3, seed=5, start_epoch=1), straight[3:])

    @pytest.mark.slow
    def test_another_seed_gives_other_batches(self, tmp_path):
        one, other = (batches(people(tmp_path), 3, seed=seed) for seed in (5, 6))
        assert all(np.any(a[0] != b[0]) for a, b in zip(one, other, strict=True))

    @pytest.mark.slow
    @pytest.mark.parametrize("policy", [None, Policy([[Stage("Rotate", 0.8, 5, 5)]])])
    def test_an_epoch_may_begin_in_the_middle_of_a_pass(self, samples, policy):
        """A pass has 3 batches; a run resumed after epochs of 2 or of 5 goes on as if it had not stopped."""
        straight = batches(samples, 12, seed=5, policy=policy)
        for steps, epoch in ((2, 1), (5, 2)):
            resumed = batches(samples, 2, seed=5, policy=policy, start_epoch=epoch, steps=steps)
            assert_same(resumed, straight[epoch * steps : epoch * steps + 2])

    def test_the_crop_shows_the_person_whose_keypoints_come_along(self, samples):
        truth = {
            number: geometry.transform_keypoints(samples.keypoints[number], matrix)
            for number, matrix in enumerate(plain_matrices(samples))
        }
        for crops, keypoints in batches(samples, 3, augment=None):
            for number, points in zip(numbers(crops), keypoints.numpy(), strict=True):
                inside = points[:, 2] > 0
                np.testing.assert_allclose(points[inside], truth[number].numpy()[inside], atol=1e-4)


@pytest.mark.slow
class TestPolicy:
    DARK = Policy([[Stage("Brightness", 1, 0)]])
    """A tenth of the light."""
    MIXED = Policy([[Stage("Rotate", 0.8, 5, 5), Stage("Brightness", 0.5, 2, 2)], [Stage("Cutout", 1, 8)]])
    FLIPS = AugmentConfig(scale=0, rotation_probability=0, half_body_probability=0)

    @pytest.fixture
    def samples(self, tmp_path) -> Samples:
        """Of files: a policy sees crops and draws, wherever they come from."""
        return people(tmp_path)

    def test_batches_are_a_function_of_seed_and_epoch(self, samples):
        straight = batches(samples, 6, policy=self.MIXED, seed=5)
        assert_same(batches(samples, 3, policy=self.MIXED, seed=5, start_epoch=1), straight[3:])
        plain = batches(samples, 3, self.FLIPS, seed=5)
        assert all(np.any(a[0] != b[0]) for a, b in zip(straight[:3], plain, strict=True))

    def test_it_takes_the_place_of_everything_but_the_flip(self, samples):
        flipped = batches(samples, 6, self.FLIPS)
        assert_same(batches(samples, 6, AUGMENT, policy=Policy.load("none")), flipped)
        for (dark, moved), (crops, keypoints) in zip(
            batches(samples, 6, AUGMENT, policy=self.DARK), flipped, strict=True
        ):
            np.testing.assert_allclose(dark, 0.1 * crops, atol=1e-6)
            np.testing.assert_array_equal(moved, keypoints)
        unflipped = batches(samples, 6, None)
        assert_same(batches(samples, 6, None, policy=Policy.load("none")), unflipped)
        changed = [np.any(a[1] != b[1], axis=(1, 2)) for a, b in zip(flipped, unflipped, strict=True)]
        assert 0.2 < np.mean(changed) < 0.8

    def test_a_broken_image_does_not_change_what_others_draw(self, tmp_path):
        """The draws belong to the place in the epoch, not to the batch."""
        samples = people(tmp_path)
        whole = self.rows(samples)
        (tmp_path / "4.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
        left = self.rows(samples)
        common = [row for row in left if row in whole]
        assert len(left) == 9 and len(common) >= 7

    def rows(self, samples) -> list[bytes]:
        """The nine elements of three batches, each as it is."""
        found = batches(samples, 3, None, policy=Policy([[Stage("Brightness", 1, 5, 5)]]))
        return [crop.tobytes() for crops, _ in found for crop in crops.numpy()]


class TestSchedule:
    DARKENING = PolicySchedule(
        draws=1, knots=[Knot(0, [Share("Brightness", 1, 5)]), Knot(0.5, [Share("Brightness", 1, 0)])]
    )
    """From plain to a tenth of the light, half way through."""
    LENGTH = 12

    def test_everybody_is_at_the_progress_of_their_number(self, tmp_path):
        """Person i of 12: a factor of 1 - 0.9 * min(i / 6, 1), whatever the batches, shards and the start."""
        samples = people(tmp_path)
        policy = self.DARKENING.during(self.LENGTH)
        for first, size, shard in ((0, BATCH, WHOLE), (6, 2, WHOLE), (0, 4, InputShard(1, 2))):
            options = {"first_index": first, "shard": shard}
            plain = training_batches(samples, CROP, size, **options)
            dark = training_batches(samples, CROP, size, policy=policy, **options)
            for one, other in zip(plain.take(5), dark.take(5), strict=True):
                factors = 1 - 0.9 * np.minimum(other.indices.numpy() / 6, 1)
                np.testing.assert_array_equal(one.indices, other.indices)
                expected = one.crops * factors[:, None, None, None]
                np.testing.assert_allclose(other.crops, expected, atol=2e-6)

    def test_without_the_length_of_a_training_it_is_refused(self, tmp_path):
        samples = people(tmp_path)
        with pytest.raises(ValueError, match=r"'schedule' goes by .* give schedule\.during\(epochs \* steps"):
            training_batches(samples, CROP, BATCH, policy=self.DARKENING)
        with pytest.raises(ValueError, match=r"opened anew .* augmentation=PolicyAugmentation\(schedule, st"):
            fit_dataset(samples, CROP, BATCH, policy=self.DARKENING)


def plain_matrices(samples):
    ratio = CROP[1] / CROP[0]
    centers, sizes = geometry.box_center_and_size(samples.boxes, ratio, geometry.BOX_PADDING)
    return geometry.crop_matrix(centers, sizes, CROP)


class TestEvaluation:
    def test_order_rows_and_matrices(self, samples):
        found = list(evaluation_dataset(samples, CROP, 4))
        assert [batch["rows"].numpy().tolist() for batch in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        assert sum((numbers(batch["crops"]) for batch in found), []) == list(range(COUNT))
        matrices = np.concatenate([batch["matrices"] for batch in found])
        np.testing.assert_allclose(matrices, plain_matrices(samples), atol=1e-5)
        keypoints = np.concatenate([batch["keypoints"] for batch in found])
        moved = geometry.transform_keypoints(samples.keypoints, matrices).numpy()
        height, width = CROP
        inside = np.all((moved[..., :2] >= 0) & (moved[..., :2] <= (width, height)), axis=-1)
        assert 0 < inside.sum() < inside.size
        np.testing.assert_array_equal(keypoints[..., 2] > 0, inside)
        np.testing.assert_allclose(keypoints, np.where(inside[..., None], moved, 0), atol=1e-4)

    @pytest.mark.slow
    def test_records_give_the_elements_of_files_bit_for_bit(self, tmp_path):
        files = people(tmp_path)
        write_records(files, tmp_path / "records", shards=3)
        records = read_record_samples(tmp_path / "records")
        for part in (slice(None), slice(2, 7)):
            pair = [list(evaluation_dataset(source.take(part), CROP, 4)) for source in (files, records)]
            assert_same(*[[list(batch.values()) for batch in found] for found in pair])
            assert sum(len(batch["rows"]) for batch in pair[1]) == len(records.take(part))


class TestBrokenLater:
    def test_training_goes_on_without_the_image(self, tmp_path):
        samples = people(tmp_path)
        (tmp_path / "4.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
        seen = sum((numbers(crops) for crops, _ in batches(samples, 9, augment=None)), [])
        assert len(seen) == 27 and set(seen) == set(range(COUNT)) - {4}

    def test_evaluation_stops(self, tmp_path):
        samples = people(tmp_path)
        (tmp_path / "4.png").unlink()
        with pytest.raises(tf.errors.NotFoundError):
            list(evaluation_dataset(samples, CROP, 4))


@pytest.mark.parametrize("turned", [False, True])
def test_exif_is_honoured_when_asked(tmp_path, turned):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise: what is stored on the left is seen on top
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, :32] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif, quality=95)
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    one = np.ones(1)
    keypoints = np.zeros((1, 6, 3))
    box, path = [[0, 0, 64, 64]], str(tmp_path / "a.jpg")
    samples = Samples(CARD, [path], box, keypoints, one, one, one, one, exif_orientation=turned)
    crop = next(iter(evaluation_dataset(samples, (32, 32), 1, box_padding=1.0)))["crops"][0].numpy()
    bright = crop[:14].mean() if turned else crop[:, :14].mean()
    dark = crop[18:].mean() if turned else crop[:, 18:].mean()
    assert bright > 0.95 and dark < 0.05


def window_of(center, size, rotation=0.0, flip=0.0) -> CropWindow:
    return CropWindow(*map(tf.constant, (center, size, rotation, flip)))


class TestGeometry:
    SIGMA = 2.5
    CROP = (96, 72)

    def dots(self) -> tuple[np.ndarray, np.ndarray]:
        """A 240 x 200 image, a Gaussian dot at each of its keypoints: red, green, blue above and below."""
        upper = [[120.3, 60.7, 2], [80.6, 70.2, 2], [99.4, 40.9, 2]]
        lower = [[125.8, 180.3, 2], [75.1, 170.4, 2], [101.7, 150.6, 2]]
        keypoints = np.array([*upper, *lower], np.float32)
        y, x = np.mgrid[:240, :200] + 0.5
        image = np.zeros((240, 200, 3))
        for k, (u, v, _) in enumerate(keypoints):
            image[..., k % 3] += 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * self.SIGMA**2))
        return np.rint(image).astype(np.uint8), keypoints

    def test_dots_stay_under_their_keypoints(self):
        """Through scale, rotation, shift, flip and half-body windows; centroids to 0.05 px of the crop."""
        pixels, points = self.dots()
        center, size = geometry.box_center_and_size(tf.constant([60.0, 30, 80, 165]), 0.75, 1.25)
        plain = CropWindow(center, size, tf.constant(0.0), tf.constant(0.0))
        config = AUGMENT.model_copy(update={"half_body_probability": 0.5})

        @tf.function
        def crop_of(seed):
            window = sample_window(plain, points, self.CROP, config, CARD, seed)
            crop, keypoints, _ = take_crop(tf.constant(pixels), tf.constant(points), window, self.CROP, CARD)
            return crop, keypoints, window

        checked, flips, halves = 0, 0, 0
        for number in range(60):
            crop, keypoints, window = crop_of(tf.constant([0, number], tf.int64))
            spread = self.SIGMA * self.CROP[1] / float(window.size[0])
            for k in range(6):
                # The row of a flipped crop holds the other side's dot, and so the other side's color.
                dot = CARD.flip_permutation[k] if window.flip > 0 else k
                error = self.centroid_error(crop.numpy()[..., dot % 3], keypoints.numpy()[k], 4 * spread)
                if error is not None:
                    assert error < 0.05, (number, k, error)
                    checked += 1
            flips += int(window.flip)
            halves += float(window.size[1]) < 0.6 * float(size[1])
        assert checked > 200 and 15 < flips < 45 and halves > 5

    def centroid_error(self, channel, keypoint, reach):
        """Pixels between keypoint and dot; None where the dot is not wholly in the crop."""
        x, y, visibility = keypoint
        left, top = int(np.floor(x - reach)), int(np.floor(y - reach))
        right, bottom = int(np.ceil(x + reach)), int(np.ceil(y + reach))
        if visibility == 0 or left < 0 or top < 0 or right > channel.shape[1] or bottom > channel.shape[0]:
            return None
        patch = channel[top:bottom, left:right]
        rows, columns = np.mgrid[top:bottom, left:right] + 0.5
        found = np.array([np.sum(patch * columns), np.sum(patch * rows)]) / patch.sum()
        return np.abs(found - (x, y)).max()

    def test_flip_exchanges_left_and_right(self):
        pixels, points = self.dots()
        window = window_of((100.0, 120.0), (200.0, 240.0), flip=1.0)
        _, keypoints, matrix = take_crop(tf.constant(pixels), tf.constant(points), window, (240, 200), CARD)
        mirrored = points * (-1, 1, 1) + (200, 0, 0)
        np.testing.assert_allclose(keypoints, mirrored[[1, 0, 2, 4, 3, 5]], atol=1e-3)
        # The matrix is that of the picture: it mirrors, and names nobody.
        np.testing.assert_allclose(geometry.transform_keypoints(points, matrix), mirrored, atol=1e-3)

    def test_keypoints_outside_the_crop_are_not_labeled(self):
        pixels, points = self.dots()
        window = window_of((100.0, 60.0), (100.0, 80.0))
        _, keypoints, _ = take_crop(tf.constant(pixels), tf.constant(points), window, (80, 100), CARD)
        assert keypoints[:, 2].numpy().tolist() == [2, 2, 2, 0, 0, 0]
        assert not keypoints.numpy()[3:].any()


def test_crops_of_photographs_are_those_of_opencv(data_root):
    """OpenCV warps pixel indices: with p = index + 0.5 on both sides, t_cv = t + A (0.5, 0.5) - 0.5."""
    tolerance = 0.51 if int(cv2.__version__.split(".")[0]) >= 5 else 1.2
    size = (128, 96)
    for number, path in enumerate(sorted((data_root / "coco_tiny/train2017").glob("*.jpg"))[:6]):
        image = np.asarray(Image.open(path).convert("RGB"))
        center = tf.constant([image.shape[1] / 2 + 0.3, image.shape[0] / 2 - 0.2])
        matrix = geometry.crop_matrix(center, tf.constant([150.0, 200]), size, 13.0 * number, number % 2)
        for_opencv = matrix.numpy().astype(np.float64)
        for_opencv[:, 2] += for_opencv[:, :2].sum(axis=1) * 0.5 - 0.5
        expected = cv2.warpAffine(image, for_opencv, size[::-1], flags=cv2.INTER_LINEAR).astype(float)
        actual = warp(tf.constant(image), matrix, size).numpy() * 255
        white = np.full_like(image, 255)
        inside = cv2.warpAffine(white, for_opencv, size[::-1], flags=cv2.INTER_LINEAR) == 255
        assert inside.mean() > 0.8
        assert np.abs(actual - expected)[inside].max() < tolerance


class TestRecordsAsASource:
    @pytest.fixture
    def folder(self, tmp_path):
        write_records(people(tmp_path), tmp_path / "records", shards=3)
        for path in tmp_path.glob("*.png"):
            path.unlink()  # nothing but the shards is looked at
        return tmp_path / "records"

    def source(self, folder, **options) -> DatasetConfig:
        return DatasetConfig(format="records", root=str(folder), **options)

    @pytest.fixture
    def card(self, tmp_path):
        """The people's card as a user would name it in `data.skeleton`."""
        path = tmp_path / "six.yaml"
        CARD.save(path)
        return str(path)

    def test_another_card_than_the_configured_one_is_refused(self, folder):
        with pytest.raises(DataError, match="card 'six', not of 'coco17'; set data.skeleton=six"):
            read_dataset(self.source(folder), "coco17")

    @pytest.mark.slow
    def test_rows_select_and_the_check_finds_nothing_wrong(self, folder, card):
        source = self.source(folder, rows=(2, 7))
        samples, problems = open_datasets([source], card)
        assert problems == [] and samples.ids.tolist() == [2, 3, 4, 5, 6]
        assert samples.skeleton == CARD
        crops, _ = next(iter(training_dataset(samples, CROP, len(samples))))
        assert sorted(numbers(crops)) == [2, 3, 4, 5, 6]

    @pytest.mark.slow
    def test_a_small_buffer_still_gives_everybody_once(self, folder):
        images = ImageRecords(read_record_samples(folder), buffer=4)
        orders = [[int(row) for row, _ in images.shuffled(0, epoch)] for epoch in (0, 1, 0)]
        assert orders[0] == orders[2] != orders[1]
        assert sorted(orders[0]) == sorted(orders[1]) == list(range(COUNT))

    def test_broken_annotations_are_set_aside(self, tmp_path):
        made = people(tmp_path)
        made.boxes[3] = 0
        write_records(made, tmp_path / "records", shards=2)
        samples = read_record_samples(tmp_path / "records")
        assert [(p.kind, p.sample_id) for p in check_samples(samples)] == [("box_empty", 3)]

    @pytest.mark.parametrize("rows", [[3, 1], [2, 2]])
    def test_only_their_own_order(self, folder, rows):
        with pytest.raises(ValueError, match="once and in their order"):
            evaluation_dataset(read_record_samples(folder).take(rows), CROP, 2)

    def test_what_records_cannot_do_is_said(self, folder, card):
        source = self.source(folder)
        files = DatasetConfig(format="lsp", root="/nowhere")
        with pytest.raises(DataError, match="only source of their list; write all sources into one"):
            open_datasets([files, source], "coco17")
        source = self.source(folder, repeat=3)
        with pytest.raises(DataError, match="remove repeat=3 and set training.epochs 3 times as high"):
            open_datasets([source], "coco17")
        with pytest.raises(DataError, match=r"rows 10\.\.12 of 10 samples select nothing"):
            read_dataset(self.source(folder, rows=(10, 12)), card)


class TestPeopleOfAPicture:
    """A picture is decoded once for people who follow each other."""

    @pytest.fixture
    def crowd(self, tmp_path) -> Samples:
        """Ten persons in three pictures of noise, of one to six people; some reach out of them."""
        random, paths = np.random.default_rng(0), [str(tmp_path / f"{number}.jpg") for number in range(3)]
        for number, path in enumerate(paths):
            pixels = random.integers(0, 256, (90 + 20 * number, 150, 3), np.uint8)
            Image.fromarray(pixels).save(path, quality=90)
        owners = [0, 0, 0, 1, 2, 2, 2, 2, 2, 2]
        boxes = np.concatenate([random.uniform(-20, 90, (10, 2)), random.uniform(10, 90, (10, 2))], axis=1)
        keypoints, numbers, ones = np.zeros((10, 6, 3)), np.arange(10), np.ones(10)
        return Samples(CARD, [paths[i] for i in owners], boxes, keypoints, ones, numbers, owners, ones)

    def crops(self, samples, batch_size):
        return np.concatenate([b["crops"] for b in evaluation_dataset(samples, CROP, batch_size)])

    def test_crops_are_those_of_each_alone(self, crowd):
        together = self.crops(crowd, 4)
        order = [0, 3, 4, 1, 5, 2, 6, 7, 8, 9]  # nobody of the first picture behind another of it
        np.testing.assert_array_equal(self.crops(crowd.take(order), 4), together[order])
        for row, crop in enumerate(together):
            image = decode_image(tf.io.read_file(crowd.image_paths[row]))
            expected, _ = plain_crop(image, tf.constant(crowd.boxes[row]), CROP)
            np.testing.assert_allclose(crop * 255, expected * 255, atol=0.05)

    def test_batches_are_made_of_different_pictures(self, crowd):
        rows = [batch["rows"].numpy().tolist() for batch in evaluation_dataset(crowd, CROP, 4)]
        assert rows == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]

    def test_each_picture_is_read_once(self, crowd, monkeypatch):
        read, contents = [], FileReader.contents

        def noted(row):
            read.append(int(row))
            return row

        monkeypatch.setattr(
            FileReader,
            "contents",
            lambda files, row: contents(files, tf.numpy_function(noted, [row], tf.int64)),
        )
        list(evaluation_dataset(crowd, CROP, 4))
        assert sorted(read) == [0, 3, 4]
