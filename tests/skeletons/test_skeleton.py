"""Skeleton cards: the built-in ones against pycocotools, a user's own, and every way to get one wrong."""

import numpy as np
import pytest
from pycocotools.cocoeval import Params

from p2net_tf.skeletons.skeleton import (
    Limb,
    Skeleton,
    SkeletonError,
    builtin_skeletons,
    load_skeleton,
    parse_skeleton,
)

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
    assert load_skeleton(path) == Skeleton(
        name="arm",
        keypoints=("head", "left_hand", "right_hand"),
        sigmas=(0.026, 0.062, 0.062),
        flip_pairs=((1, 2),),
        limbs=(Limb(0, 1, (255, 128, 0)), Limb(0, 2, (255, 255, 255))),
        upper_body=(0, 1),
    )
    assert load_skeleton(str(path)).flip_permutation == (0, 2, 1)
    assert load_skeleton(path).index("right_hand") == 2


def test_builtin_cards_have_the_published_numbers_of_keypoints():
    counts = {name: load_skeleton(name).num_keypoints for name in builtin_skeletons()}
    assert counts == {"coco17": 17, "lsp14": 14, "mpii16": 16}


def test_coco_sigmas_are_those_of_pycocotools():
    np.testing.assert_allclose(load_skeleton("coco17").sigmas, Params("keypoints").kpt_oks_sigmas, rtol=1e-12)


@pytest.mark.parametrize("name", builtin_skeletons())
def test_flip_exchanges_left_and_right_names_and_is_an_involution(name):
    skeleton = load_skeleton(name)
    permutation = skeleton.flip_permutation
    assert [permutation[k] for k in permutation] == list(range(skeleton.num_keypoints))
    exchanged = {"left": "right", "right": "left"}
    for keypoint, partner in zip(skeleton.keypoints, permutation, strict=True):
        side, _, rest = keypoint.partition("_")
        assert skeleton.keypoints[partner] == (f"{exchanged[side]}_{rest}" if side in exchanged else keypoint)


@pytest.mark.parametrize("name", builtin_skeletons())
def test_mirrored_keypoints_have_equal_sigmas_and_halves(name):
    skeleton = load_skeleton(name)
    for left, right in skeleton.flip_pairs:
        assert skeleton.sigmas[left] == skeleton.sigmas[right]
        assert (left in skeleton.upper_body) == (right in skeleton.upper_body)


def test_unknown_card():
    with pytest.raises(SkeletonError, match="no skeleton card 'coco'.*coco17, lsp14, mpii16 or the path"):
        load_skeleton("coco")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (CARD, "[1, 2]", "arm.yaml:1: a card is a mapping with the fields name, keypoints"),
        (CARD, "", "arm.yaml:1: a card is a mapping"),
        ("name: arm", "name: [arm", "arm.yaml:2: not valid YAML"),
        ("name: arm", "name: ", "arm.yaml:1: expected a word here"),
        ("sigmas:", "sigma:", "arm.yaml:3: unknown field 'sigma'; did you mean 'sigmas'?"),
        ("sigmas:", "q:", "arm.yaml:3: unknown field 'q'; known: name, keypoints, sigmas"),
        ("name: arm", "name: arm\nname: leg", "arm.yaml:2: field 'name' stands twice"),
        ("upper_body: [head, left_hand]\n", "", "arm.yaml:1: field 'upper_body' is missing"),
        ("[head, left_hand, right_hand]", "head", "arm.yaml:2: 'keypoints' must be a list"),
        ("[head, left_hand, right_hand]", "[]", "arm.yaml:2: 'keypoints' is empty"),
        ("[head, left_hand, right_hand]", "[head, left_hand, left_hand]", "arm.yaml:2: keypoint 'left_hand'"),
        ("[head, left_hand, right_hand]", "[head, {a: b}, left_hand]", "arm.yaml:2: expected a word"),
        ("[0.026, 0.062, 0.062]", "[0.026, 0.062]", "arm.yaml:3: 2 sigmas for 3 keypoints"),
        ("0.026", "small", "arm.yaml:3: sigma of 'head' is 'small', not a number"),
        ("0.026", "0", "arm.yaml:3: sigma of 'head' is 0.0; OKS needs a positive number"),
        ("0.026", "nan", "arm.yaml:3: sigma of 'head' is nan"),
        ("0.026", ".inf", "arm.yaml:3: sigma of 'head' is"),
        ("- [left_hand, right_hand]", "- left_hand", "arm.yaml:5: 'flip_pairs entry' must be a list"),
        ("- [left_hand, right_hand]", "- [left_hand]", "arm.yaml:5: a flip pair has 2 keypoints, this one 1"),
        ("- [left_hand, right_hand]", "- [head, head]", "arm.yaml:5: 'head' is paired with itself"),
        (
            "- [left_hand, right_hand]",
            "- [left_hand, right_hand]\n  - [head, left_hand]",
            "arm.yaml:6: 'left_hand' is already paired with 'right_hand'",
        ),
        (
            "- [left_hand, right_hand]",
            "- [left_hand, right_hnd]",
            "arm.yaml:5: no keypoint 'right_hnd' on this card; did you mean 'right_hand'?",
        ),
        ("upper_body: [head, left_hand]", "upper_body: [heat]", "arm.yaml:6: no keypoint 'heat'.*'head'"),
        ("- {from: head, to: right_hand}", "- head", "arm.yaml:9: a limb is {from: KEYPOINT"),
        ("to: right_hand}", "too: right_hand}", "arm.yaml:9: unknown field 'too' in a limb"),
        ("- {from: head, to: right_hand}", "- {from: head}", "arm.yaml:9: limb without 'to'"),
        (
            "- {from: head, to: right_hand}",
            "- {from: head, to: head}",
            "arm.yaml:9: limb from 'head' to itself",
        ),
        ("#ff8000", "orange", "arm.yaml:8: color 'orange' is not of the form '#rrggbb'"),
        ('"#ff8000"', "[255, 128, 0]", "arm.yaml:8: expected a word here"),
        ("{from: head, to: right_hand}", "{from: head, [to]: head}", "arm.yaml:9: expected a word here"),
    ],
)
def test_an_error_names_file_line_and_remedy(old, new, message):
    assert CARD.count(old) == 1
    pattern = message.replace("?", r"\?").replace("[", r"\[").replace("{", r"\{")
    with pytest.raises(SkeletonError, match=pattern):
        parse_skeleton(CARD.replace(old, new), "arm.yaml")
