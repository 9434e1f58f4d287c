"""Keypoint errors: a built case of each type with counts by hand, and AP gains against plain pycocotools."""

import copy
import io
import json
import math

import cv2
import numpy as np
import pytest
from rich.console import Console

from p2net_tf.cli.score_tables import print_errors
from p2net_tf.data.samples import DataError
from p2net_tf.evaluation.coco import coco_results, evaluate_coco
from p2net_tf.evaluation.error_analysis.analysis import analyze_errors
from p2net_tf.evaluation.error_analysis.correction import STEPS, correct, optimal_scores
from p2net_tf.evaluation.error_analysis.keypoints import NOT_COUNTED, TYPES, classify
from p2net_tf.evaluation.error_analysis.plots import COLORS
from p2net_tf.evaluation.error_analysis.report import write_errors
from p2net_tf.evaluation.error_analysis.sheet import draw_worst, pictures_in_folder
from p2net_tf.skeletons.skeleton import Skeleton
from tests.keypoint_faults import crowded_scene, faults_in_loops, moved_by_hand
from tests.plain_pycocotools import plain_stats
from tests.ten_people import CARD

LEFT_HAND, RIGHT_HAND, HEAD = range(3)
PERSON = np.array([[0, 0], [100, 0], [50, 100], [0, 200], [100, 200], [50, 300]], float)
"""Places of the card's six keypoints, far from each other."""
SCALE = 100 * 2 * 0.1
"""s times k, in pixels, of a person of 1e4 square pixels and the card's sigmas."""
KEYPOINT_TYPES = STEPS[:4]


def away(similarity: float) -> np.ndarray:
    """The offset at which ks has this value: exp(-d^2 / (2 (s k)^2))."""
    return np.array([SCALE * math.sqrt(-2 * math.log(similarity)), 0.0])


def truth(*persons, images=1, area=1e4, **fields) -> dict:
    """Persons `[6, 2 or 3]`, all in image 1, of `images`; fields for all of them."""
    return {
        "images": [{"id": number + 1} for number in range(images)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "image_id": 1,
                "category_id": 1,
                "area": area,
                "keypoints": np.column_stack([person[:, :2], labels(person)]).ravel().tolist(),
                **fields,
            }
            for person in persons
        ],
    }


def labels(person: np.ndarray) -> np.ndarray:
    return person[:, 2] if person.shape[1] == 3 else np.full(len(person), 2.0)


def results(*poses, scores=None, image_ids=None) -> list[dict]:
    scores = np.linspace(0.9, 0.5, len(poses)) if scores is None else scores
    return coco_results(image_ids or [1] * len(poses), np.array(poses), scores)


def analyze(ground_truth, predictions):
    return analyze_errors(ground_truth, predictions, CARD)


def moved(keypoint: int, to, person=PERSON) -> np.ndarray:
    pose = person[:, :2].copy()
    pose[keypoint] = to
    return pose


def unlabeled(keypoint: int, person=PERSON) -> np.ndarray:
    hidden = np.column_stack([person, labels(person)])
    hidden[keypoint] = 0
    return hidden


def type_of(analysis, keypoint: int, pair: int = 0) -> str:
    return TYPES[analysis.errors.types[pair, keypoint]]


def totals(analysis) -> dict[str, int]:
    return {name: count for name, count in zip(TYPES, analysis.counts.sum(0).tolist(), strict=True) if count}


class TestTypes:
    @pytest.mark.parametrize(
        ("similarity", "name"),
        [(0.86, "good"), (0.84, "jitter"), (0.51, "jitter"), (0.49, "miss"), (1e-9, "miss")],
    )
    def test_a_distance_from_the_own_place(self, similarity, name):
        found = analyze(truth(PERSON), results(moved(HEAD, PERSON[HEAD] + away(similarity))))
        assert type_of(found, HEAD) == name
        assert found.errors.similarities[0, HEAD] == pytest.approx(similarity)
        assert totals(found) == ({"good": 6} if name == "good" else {"good": 5, name: 1})
        assert found.counts[HEAD].tolist() == [int(name == other) for other in TYPES]

    @pytest.mark.parametrize(
        ("own", "partner", "others", "name"),
        [
            (0.85, 0, 0, "good"),
            (np.nextafter(0.85, 0), 1, 1, "jitter"),
            (0.5, 1, 1, "jitter"),
            (np.nextafter(0.5, 0), 0.5, 0, "inversion"),
            (0, 0.5, 0.5, "inversion"),
            (0, np.nextafter(0.5, 0), 0.5, "swap"),
            (0, 0.7, 0.8, "swap"),
            (0, 0.8, 0.7, "inversion"),
            (0, np.nextafter(0.5, 0), np.nextafter(0.5, 0), "miss"),
        ],
    )
    def test_borders_belong_to_the_lesser_error(self, own, partner, others, name):
        assert TYPES[classify(*np.array([[own], [partner], [others]], float)).item()] == name

    def test_inversion_is_the_partner_s_place(self):
        both = PERSON[[RIGHT_HAND, LEFT_HAND, *range(2, 6)]]
        assert totals(analyze(truth(PERSON), results(both))) == {"good": 4, "inversion": 2}
        near = moved(LEFT_HAND, PERSON[RIGHT_HAND] + away(0.6))
        assert type_of(analyze(truth(PERSON), results(near)), LEFT_HAND) == "inversion"
        not_near = moved(LEFT_HAND, PERSON[RIGHT_HAND] + away(0.4))
        assert type_of(analyze(truth(PERSON), results(not_near)), LEFT_HAND) == "miss"

    def test_no_inversion_without_a_label_or_a_partner(self):
        hidden = analyze(truth(unlabeled(RIGHT_HAND)), results(moved(LEFT_HAND, PERSON[RIGHT_HAND])))
        assert type_of(hidden, LEFT_HAND) == "miss"
        assert hidden.errors.types[0, RIGHT_HAND] == NOT_COUNTED
        assert totals(hidden) == {"good": 4, "miss": 1}
        headless = analyze(truth(PERSON), results(moved(HEAD, PERSON[LEFT_HAND])))
        assert type_of(headless, HEAD) == "miss"

    @pytest.mark.parametrize(
        ("place", "name"), [(LEFT_HAND, "swap"), (RIGHT_HAND, "swap"), (HEAD, "miss"), (5, "miss")]
    )
    def test_swap_is_the_same_place_of_another_person_or_its_partner(self, place, name):
        other = PERSON + [500, 0]
        found = analyze(truth(PERSON, other), results(moved(LEFT_HAND, other[place]), other))
        assert type_of(found, LEFT_HAND) == name
        assert totals(found) == {"good": 11, name: 1}

    def test_no_swap_with_a_place_that_has_no_label_or_lies_in_another_image(self):
        other = PERSON + [500, 0]
        hidden = truth(PERSON, unlabeled(LEFT_HAND, other))
        pose = moved(LEFT_HAND, other[LEFT_HAND])
        assert type_of(analyze(hidden, results(pose)), LEFT_HAND) == "miss"
        elsewhere = truth(PERSON, other, images=2)
        elsewhere["annotations"][1]["image_id"] = 2
        assert type_of(analyze(elsewhere, results(pose)), LEFT_HAND) == "miss"

    def test_swap_is_measured_by_the_size_of_the_other_person(self):
        other = PERSON + [500, 0]
        ground_truth = truth(PERSON, other)
        predictions = results(moved(LEFT_HAND, other[LEFT_HAND] + [5, 0]))
        assert type_of(analyze(ground_truth, predictions), LEFT_HAND) == "swap"
        ground_truth["annotations"][1]["area"] = 100  # s k is 2 pixels now
        assert type_of(analyze(ground_truth, predictions), LEFT_HAND) == "miss"

    def test_the_own_place_comes_first_and_else_the_closest(self):
        close = PERSON + [110, 0]  # its left hand is 10 pixels right of the other's right hand
        own_first = moved(LEFT_HAND, PERSON[LEFT_HAND] + away(0.6))
        own_first_truth = truth(PERSON, PERSON + away(0.6))
        assert type_of(analyze(own_first_truth, results(own_first)), LEFT_HAND) == "jitter"
        for offset, name in [(4, "inversion"), (6, "swap")]:
            pose = moved(LEFT_HAND, PERSON[RIGHT_HAND] + [offset, 0])
            assert type_of(analyze(truth(PERSON, close), results(pose)), LEFT_HAND) == name

    def test_a_keypoint_that_is_not_finite_is_missed(self):
        found = analyze(truth(PERSON), results(moved(HEAD, [np.nan, 0])))
        assert totals(found) == {"good": 5, "miss": 1}
        distance = found.errors.corrected[0, HEAD] - PERSON[HEAD]
        np.testing.assert_allclose(distance, away(0.5), rtol=1e-8)

    def test_corrected_keypoints_lie_where_the_paper_puts_them(self):
        """On the line to the prediction: at 0.85, at 0.5, or as near as to the place it was taken for."""
        pose = PERSON.copy()
        pose[HEAD] += (0, -away(0.6)[0])
        pose[5] += (0, 500)
        pose[LEFT_HAND] = PERSON[RIGHT_HAND] + away(0.9)
        found = analyze(truth(PERSON), results(pose))
        assert totals(found) == {"good": 3, "jitter": 1, "inversion": 1, "miss": 1}
        expected = PERSON.copy()
        expected[HEAD] += (0, -away(0.85)[0])
        expected[5] += (0, away(0.5)[0])
        expected[LEFT_HAND] += away(0.9)
        np.testing.assert_allclose(found.errors.corrected[0], expected, atol=1e-6)


class TestMatching:
    def test_images_without_poses_poses_without_persons_and_strangers(self):
        ground_truth = truth(PERSON, PERSON, images=3)
        ground_truth["annotations"][1]["image_id"] = 2
        predictions = results(PERSON, PERSON, PERSON + 3000, PERSON, image_ids=[1, 3, 1, 99])
        found = analyze(ground_truth, predictions)
        assert found.matches.pose_rows.tolist() == found.matches.person_rows.tolist() == [0]
        assert found.matches.background.tolist() == [False, True, True]  # image 99 is not in the truth
        assert found.matches.missed.tolist() == [False, True]
        assert found.original == evaluate_coco(ground_truth, predictions, CARD.sigmas)

    def test_a_person_takes_the_pose_of_the_best_score(self):
        other = PERSON + [500, 0]
        poor = moved(HEAD, PERSON[HEAD] + 999)
        found = analyze(truth(PERSON, other), results(other, PERSON, poor, scores=[0.3, 0.5, 0.7]))
        assert (found.matches.pose_rows.tolist(), found.matches.person_rows.tolist()) == ([0, 2], [1, 0])
        assert not found.matches.background.any()
        assert totals(found) == {"good": 11, "miss": 1}

    def test_crowds_and_persons_without_labels_do_not_count(self):
        nobody = np.zeros((6, 3))
        ground_truth = truth(PERSON, PERSON + [500, 0], nobody)
        ground_truth["annotations"][1]["iscrowd"] = 1
        ground_truth["annotations"][2]["bbox"] = [5000, 0, 100, 300]
        predictions = results(PERSON, PERSON + [500, 0], PERSON + [5000, 0], PERSON + [9000, 0])
        found = analyze(ground_truth, predictions)
        assert found.matches.pose_rows.tolist() == [0]
        assert found.matches.counted.tolist() == [True, False, False]
        assert found.matches.background.tolist() == [False, False, False, True]
        assert not found.matches.missed.any()
        assert totals(found) == {"good": 6}

    def test_nothing_predicted(self):
        found = analyze(truth(PERSON), [])
        assert totals(found) == {}
        assert found.matches.missed.tolist() == [True]
        assert found.original["AP"] == 0
        assert math.isnan(found.gain_alone("missed person"))  # nobody is left to be found
        assert json.loads(json.dumps(found.to_dict()))["corrected_alone"]["missed person"]["gain"] is None

    def test_what_is_passed_in_stays_as_it_is(self):
        given = truth(PERSON, PERSON + [500, 0]), results(PERSON, PERSON + [505, 9])
        before = copy.deepcopy(given)
        analyze(*given)
        assert given == before

    def test_broken_input_is_named(self):
        with pytest.raises(DataError, match="holds 18, not 51 values"):
            analyze_errors(truth(PERSON), results(PERSON), "coco17")


class TestGains:
    """APs by hand. Of well ranked poses the AP is the part of the ten thresholds that their OKS meets."""

    def gains(self, ground_truth, predictions) -> tuple[float, dict]:
        found = analyze(ground_truth, predictions)
        gains = {step: found.gain_alone(step) for step in STEPS}
        chained = found.original["AP"] + sum(found.gain_together(step) for step in STEPS)
        assert chained == pytest.approx(found.together[STEPS[-1]]["AP"])
        return found.original["AP"], {step: gain for step, gain in gains.items() if abs(gain) > 1e-12}

    def test_miss(self):
        """4 of 6 right is 0.667 (4 thresholds); two misses moved to 0.5 each make it 0.833 (7 thresholds)."""
        pose = moved(HEAD, PERSON[HEAD] + [0, 999])
        pose[5] += 999
        assert self.gains(truth(PERSON), results(pose)) == approx(0.4, miss=0.3)

    def test_jitter(self):
        """All at 0.62 (3 thresholds); corrected to 0.85, exactly the eighth."""
        assert self.gains(truth(PERSON), results(PERSON + away(0.62))) == approx(0.3, jitter=0.5)

    def test_inversion(self):
        """Exchanged hands: 4 of 6 right; exactly on the other places, so corrected to the true ones."""
        pose = PERSON[[RIGHT_HAND, LEFT_HAND, *range(2, 6)]]
        assert self.gains(truth(PERSON), results(pose)) == approx(0.4, inversion=0.6)

    def test_swap(self):
        """Both persons have one hand on the other: 5 of 6 right is 0.833 (7 thresholds)."""
        other = PERSON + [500, 0]
        poses = moved(LEFT_HAND, other[LEFT_HAND]), moved(LEFT_HAND, PERSON[RIGHT_HAND], other)
        assert self.gains(truth(PERSON, other), results(*poses)) == approx(0.7, swap=0.3)

    def test_score(self):
        """The better of two poses is ranked second: precision 1/2 at the 6 thresholds the first fails."""
        poor = moved(HEAD, PERSON[HEAD] + [0, 999])
        poor[5] += 999
        original, gains = self.gains(truth(PERSON), results(poor, PERSON))
        assert original == pytest.approx(0.7)
        assert gains.pop("miss") == pytest.approx(0.15)  # 7 thresholds, and 3 of precision 1/2
        assert gains == pytest.approx({"score": 0.3})

    def test_background_and_missed_person(self):
        """The best score belongs to nobody: precision 1/2. One of two found: 51 of 101 recalls."""
        stranger = PERSON + 5000
        wrong = results(stranger, PERSON)
        assert self.gains(truth(PERSON), wrong) == approx(0.5, score=0.5, background=0.5)
        absent = truth(PERSON, PERSON + [500, 0])
        assert self.gains(absent, results(PERSON)) == approx(51 / 101, **{"missed person": 50 / 101})

    def test_optimal_scores_in_closed_form(self):
        """OKS 1 and 4/6; the second is lowered by the first, which shares 4 of its 6 places."""
        poor = moved(HEAD, PERSON[HEAD] + [0, 9999])
        poor[5] += 9999
        found = analyze(truth(PERSON), results(poor, PERSON, PERSON + 5000))
        scores = optimal_scores(found.case, found.matches, found.case.keypoints)
        shared = pairwise_in_loops(poor, PERSON)
        expected = [4 / 6 * math.exp(-(shared**2) / 0.5), 1, 0]
        np.testing.assert_allclose(scores, expected, atol=1e-12)


def approx(original: float, **gains: float):
    return pytest.approx(original), pytest.approx(gains)


def pairwise_in_loops(first, second) -> float:
    """OKS of two poses with the mean of their extents as s^2."""
    area = sum(np.prod(np.ptp(pose, axis=0)) for pose in (first, second)) / 2
    pairs = zip(first, second, strict=True)
    return sum(math.exp(-(math.dist(a, b) ** 2) / (2 * area * 0.2**2)) for a, b in pairs) / len(first)


class TestAgainstPlainPycocotools:
    """Corrected here, keypoint by keypoint, and scored by pycocotools without any code of ours."""

    @pytest.fixture(scope="class", params=["published", "crowded"])
    def compared(self, request):
        """`(ground truth, results, sigmas, partners)` of COCO's card."""
        card = Skeleton.load("coco17")
        if request.param == "published":
            folder = request.getfixturevalue("data_root") / "oks_example"
            files = [
                json.loads((folder / f"{name}.json").read_text()) for name in ("annotations", "predictions")
            ]
        else:
            files = crowded_scene()
        return *files, card.sigmas, card.flip_permutation

    def test_types_and_gains(self, compared):
        ground_truth, predictions, sigmas, partners = compared
        found = analyze_errors(ground_truth, predictions)
        original = plain_stats(ground_truth, predictions)[0]
        assert found.original["AP"] == original
        faults = faults_in_loops(ground_truth, predictions, sigmas, partners)
        for number, name in enumerate(TYPES):
            expected = [sum(k == keypoint and t == name for _, k, t, _ in faults) for keypoint in range(17)]
            assert found.counts[:, number].tolist() == expected
        for count in range(1, 5):
            alone, together = KEYPOINT_TYPES[count - 1 : count], KEYPOINT_TYPES[:count]
            step = alone[0]
            gain = plain_stats(ground_truth, moved_by_hand(predictions, faults, alone))[0] - original
            assert found.gain_alone(step) == pytest.approx(gain, abs=1e-12)
            corrected = plain_stats(ground_truth, moved_by_hand(predictions, faults, together))
            assert found.together[step]["AP"] == pytest.approx(corrected[0], abs=1e-12)

    def test_every_step_is_the_score_of_its_predictions(self, compared):
        ground_truth, predictions, *_ = compared
        found = analyze_errors(ground_truth, predictions)
        for number, step in enumerate(STEPS):
            for steps, result in ((step,), found.alone[step]), (STEPS[: number + 1], found.together[step]):
                inputs = correct(found.case, found.matches, found.errors, steps)
                stats = plain_stats(*inputs)
                assert list(result.metrics.values()) == pytest.approx(stats.tolist(), abs=1e-12)
                assert np.mean(list(result.ap_by_threshold.values())) == pytest.approx(stats[0])

    def test_totals_and_what_the_corrections_reach(self, compared):
        ground_truth, predictions, *_ = compared
        found = analyze_errors(ground_truth, predictions)
        persons = [ground_truth["annotations"][row] for row in found.matches.person_rows]
        assert found.counts.sum() == sum(person["num_keypoints"] for person in persons) > 100
        last = found.together["missed person"]
        assert last["AP50"] == 1  # every corrected keypoint of a matched pose is within 0.5
        assert last["AP"] > found.original["AP"] + 0.05
        for step in ("background", "missed person"):
            assert found.gain_alone(step) >= 0

    def test_the_scene_has_every_type(self):
        assert np.all(analyze_errors(*crowded_scene()).counts.sum(0) > 10)


class TestFiles:
    @pytest.fixture(scope="class")
    def analysis(self):
        """A head that is missed by 200 pixels, and a jitter."""
        pose = moved(HEAD, PERSON[HEAD] + [0, 200])
        pose[LEFT_HAND] += away(0.7)
        other = PERSON + [500, 0]
        return analyze(truth(PERSON, other), results(pose, other))

    @pytest.fixture
    def images(self, tmp_path):
        cv2.imwrite(str(tmp_path / "one.png"), np.full((400, 700, 3), 90, np.uint8))
        named = truth()
        named["images"][0]["file_name"] = "one.png"
        (tmp_path / "truth.json").write_text(json.dumps(named))
        return pictures_in_folder(tmp_path, tmp_path / "truth.json")

    def test_page_and_json_hold_the_numbers(self, analysis, images, tmp_path):
        page = write_errors(tmp_path / "out", analysis, "Errors of six", images, "p2net score").read_text()
        written = json.loads((tmp_path / "out/errors.json").read_text())
        assert written["errors"] == json.loads(json.dumps(analysis.to_dict()))
        assert written["errors"]["keypoints"]["head"] == {
            "labeled": 2,
            "good": 1,
            "jitter": 0,
            "inversion": 0,
            "swap": 0,
            "miss": 1,
        }
        assert "Errors of six" in page and "50.00" in page and "errors.json" in page
        assert page.count("data:image/") == 3
        for name in ("errors_ap.png", "errors_keypoints.png", "errors_worst.jpg"):
            assert cv2.imread(str(tmp_path / "out" / name)).size > 100_000

    def test_without_pictures_there_is_no_sheet(self, analysis, tmp_path):
        page = write_errors(tmp_path, analysis, "t")
        assert page.read_text().count("data:image/") == 2
        assert not (tmp_path / "errors_worst.jpg").exists()

    def test_nothing_predicted_is_a_page_of_dashes(self, images, tmp_path):
        page = write_errors(tmp_path, analyze(truth(PERSON), []), "t", images).read_text()
        assert "0 of 1 persons that count are matched" in page and "–" in page

    def test_tables_show_shares_and_gains(self, analysis):
        stream = io.StringIO()
        print_errors(analysis, Console(file=stream, width=120))
        shown = stream.getvalue()
        cells = next(line for line in shown.splitlines() if " head " in line).replace("│", "").split()
        assert cells == ["head", "2", "50.0", "0.0", "0.0", "0.0", "50.0"]
        assert f"{analysis.gain_alone('miss'):.4f}" in shown
        assert "2 of 2 persons that count are matched" in shown

    def test_only_wrong_poses_are_shown_and_marked_where_they_are(self, analysis, images):
        sheet = draw_worst(analysis, images)
        assert sheet.shape[1] == 288 + 2 * 8  # one tile
        # The places span 100 x 300 pixels; 450 pixels around their middle (50, 150) make the 288 of the tile.
        middle, head = np.array([50, 150]), np.array([50, 300])
        x, y = np.rint(8 + 288 / 450 * (head - middle + 225)).astype(int)
        miss = np.array(list(bytes.fromhex(COLORS["miss"][1:])))
        ring = sheet[y, x - 9 : x + 10].astype(int)
        assert np.abs(ring - miss).sum(-1).min() < 30

    def test_no_error_no_sheet(self, images):
        assert draw_worst(analyze(truth(PERSON), results(PERSON)), images) is None

    def test_a_lost_image_becomes_words(self, analysis, images, tmp_path):
        (tmp_path / "one.png").unlink()
        sheet = draw_worst(analysis, images)
        assert (sheet[20:280, 20:280] == 128).all(-1).mean() > 0.5
