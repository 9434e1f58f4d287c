"""Skeleton cards: the built-in ones against pycocotools, a user's own, and every way to get one wrong."""

import json

import numpy as np
import pytest
from pycocotools.cocoeval import Params

from p2net_tf.skeletons.card import SkeletonError
from p2net_tf.skeletons.skeleton import Limb, Skeleton, builtin_skeletons

CARD = """\
name: arm
keypoints: [head, left_hand, right_hand]
sigmas: [0.026, 0.062, 0.062]
flip_pairs:
  - [left_hand, right_hand]
upper_body: [head, left_hand]
limbs:
  - {from: head, to: left_hand, color: "#ff8000"}
  - {from: head, to: right_hand}
"""


def test_a_users_card(tmp_path):
    path = tmp_path / "arm.yaml"
    path.write_text(CARD)
    assert Skeleton.load(path) == Skeleton(
        name="arm",
        keypoints=("head", "left_hand", "right_hand"),
        sigmas=(0.026, 0.062, 0.062),
        flip_pairs=((1, 2),),
        limbs=(Limb(0, 1, (255, 128, 0)), Limb(0, 2, (255, 255, 255))),
        upper_body=(0, 1),
    )
    assert Skeleton.load(str(path)).flip_permutation == (0, 2, 1)
    assert Skeleton.load(path).index("right_hand") == 2


def test_builtin_cards_have_the_published_numbers_of_keypoints():
    counts = {name: Skeleton.load(name).num_keypoints for name in builtin_skeletons()}
    assert counts == {"coco17": 17, "lsp14": 14, "mpii16": 16}


def test_coco_sigmas_are_those_of_pycocotools():
    np.testing.assert_allclose(Skeleton.load("coco17").sigmas, Params("keypoints").kpt_oks_sigmas, rtol=1e-12)


@pytest.mark.parametrize("name", builtin_skeletons())
def test_flip_exchanges_left_and_right_names_and_is_an_involution(name):
    skeleton = Skeleton.load(name)
    permutation = skeleton.flip_permutation
    assert [permutation[k] for k in permutation] == list(range(skeleton.num_keypoints))
    exchanged = {"left": "right", "right": "left"}
    for keypoint, partner in zip(skeleton.keypoints, permutation, strict=True):
        side, _, rest = keypoint.partition("_")
        assert skeleton.keypoints[partner] == (f"{exchanged[side]}_{rest}" if side in exchanged else keypoint)


@pytest.mark.parametrize("name", builtin_skeletons())
def test_mirrored_keypoints_have_equal_sigmas_and_halves(name):
    skeleton = Skeleton.load(name)
    for left, right in skeleton.flip_pairs:
        assert skeleton.sigmas[left] == skeleton.sigmas[right]
        assert (left in skeleton.upper_body) == (right in skeleton.upper_body)


def test_unknown_card():
    with pytest.raises(SkeletonError, match="no skeleton card 'coco'.*coco17, lsp14, mpii16 or the path"):
        Skeleton.load("coco")


@pytest.mark.parametrize("name", builtin_skeletons())
def test_a_skeleton_is_written_and_read_back(name, tmp_path):
    skeleton = Skeleton.load(name)
    skeleton.save(tmp_path / "card.yaml")
    assert Skeleton.load(tmp_path / "card.yaml") == skeleton
    assert Skeleton.from_card(json.loads(json.dumps(skeleton.to_card()))) == skeleton


def test_a_card_in_plain_values_is_judged_alike():
    card = {**Skeleton.parse(CARD).to_card(), "upper_body": ["heat"]}
    with pytest.raises(SkeletonError, match="people.keras: upper_body.0: no keypoint 'heat'.*mean 'head'"):
        Skeleton.from_card(card, "people.keras")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (CARD, "[1, 2]", "arm.yaml:1: a configuration is a mapping of keys"),
        (CARD, "", "arm.yaml:1: required key 'keypoints' is missing"),
        ("name: arm", "name: [arm", "arm.yaml:2: not valid YAML"),
        ("name: arm", "name: ", "arm.yaml:1: name: found nothing"),
        ("sigmas:", "sigma:", "arm.yaml:3: unknown key 'sigma'; did you mean 'sigmas'?"),
        ("sigmas:", "q:", "arm.yaml:3: unknown key 'q'; known: name, keypoints, sigmas"),
        ("name: arm", "name: arm\nname: leg", "arm.yaml:2: key 'name' stands twice"),
        ("upper_body: [head, left_hand]\n", "", "arm.yaml:1: required key 'upper_body' is missing"),
        (
            "[head, left_hand, right_hand]",
            "head",
            "arm.yaml:2: keypoints: found text 'head', expected a list",
        ),
        ("[head, left_hand, right_hand]", "[]", "arm.yaml:2: keypoints: no keypoints; name at least one"),
        (
            "[head, left_hand, right_hand]",
            "[head, left_hand, left_hand]",
            "arm.yaml:2: keypoints: keypoint 'left",
        ),
        (
            "[head, left_hand, right_hand]",
            "[head, {a: b}, left_hand]",
            "arm.yaml:2: keypoints.1: found a section",
        ),
        ("[0.026, 0.062, 0.062]", "[0.026, 0.062]", "arm.yaml:1: .*2 sigmas for 3 keypoints; give one per"),
        ("0.026", "small", "arm.yaml:3: sigmas.0: found text 'small', expected a number above 0"),
        ("0.026", "0", "arm.yaml:3: sigmas.0: found the number 0, expected a number above 0"),
        ("0.026", ".nan", "arm.yaml:3: sigmas.0: found the number nan"),
        ("0.026", ".inf", "arm.yaml:3: sigmas.0: found the number inf"),
        ("0.026", "1e-300", "arm.yaml:3: sigmas.0: sigma 1e-300 is not between 0.0001 and 10"),
        ("0.026", "true", "arm.yaml:3: sigmas.0: found true, expected a number above 0"),
        ("name: arm", "<<: 5", "arm.yaml:1: `<<` takes a section or a list of sections"),
        ("name: arm", "<<: [5]", "arm.yaml:1: `<<` takes a section or a list of sections"),
        ("[head, left_hand, right_hand]", "&a [*a]", "arm.yaml:1: an alias stands within its own anchor"),
        ("[head, left_hand, right_hand]", "[" * 3000, "arm.yaml: nested too deeply"),
        ("- [left_hand, right_hand]", "- left_hand", "arm.yaml:5: flip_pairs.0: found text 'left_hand'"),
        ("- [left_hand, right_hand]", "- [left_hand]", "arm.yaml:5: flip_pairs.0: found a list of 1"),
        (
            "- [left_hand, right_hand]",
            "- [head, head]",
            "arm.yaml:5: flip_pairs.0: 'head' is paired with itself",
        ),
        (
            "- [left_hand, right_hand]",
            "- [left_hand, right_hand]\n  - [head, left_hand]",
            "arm.yaml:4: flip_pairs: 'left_hand' is paired with 'right_hand' and 'head'",
        ),
        (
            "- [left_hand, right_hand]",
            "- [left_hand, right_hnd]",
            "arm.yaml:5: flip_pairs.0.1: no keypoint 'right_hnd' on this card; did you mean 'right_hand'?",
        ),
        ("upper_body: [head, left_hand]", "upper_body: [heat]", "arm.yaml:6: .*no keypoint 'heat'.*'head'"),
        (
            "- {from: head, to: right_hand}",
            "- head",
            "arm.yaml:9: limbs.1: found text 'head', expected a section",
        ),
        ("to: right_hand}", "too: right_hand}", "arm.yaml:9: unknown key 'limbs.1.too'; did you mean 'to'?"),
        (
            "- {from: head, to: right_hand}",
            "- {from: head}",
            "arm.yaml:9: required key 'limbs.1.to' is missing",
        ),
        (
            "- {from: head, to: right_hand}",
            "- {from: head, to: head}",
            "arm.yaml:9: .*limb from 'head' to itself",
        ),
        ("#ff8000", "orange", "arm.yaml:8: limbs.0.color: color 'orange' is not of the form '#rrggbb'"),
        ('"#ff8000"', "[255, 128, 0]", "arm.yaml:8: limbs.0.color: found a list of 3"),
        ("{from: head, to: right_hand}", "{from: head, [to]: head}", "arm.yaml:9: a list or section stands"),
    ],
)
def test_an_error_names_file_line_and_remedy(old, new, message):
    assert CARD.count(old) == 1
    pattern = message.replace("?", r"\?").replace("[", r"\[").replace("{", r"\{")
    with pytest.raises(SkeletonError, match=pattern):
        Skeleton.parse(CARD.replace(old, new), "arm.yaml")
