"""`.keras` files with their card: what is kept, what is refused, and in which words."""

import json
import zipfile

import keras
import numpy as np
import pytest
from networks import two_convolutions

from p2net_tf.inference.card import CARD_VERSION, CardError, InferenceCard
from p2net_tf.inference.keras_file import (
    CARD_FILE,
    NetworkFileError,
    open_network,
    parse_card,
    read_card,
    save_network,
)
from p2net_tf.skeletons.skeleton import Skeleton

CROPS = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    return two_convolutions(14, (32, 32))


@pytest.fixture
def card(network) -> InferenceCard:
    return InferenceCard.of(
        network,
        Skeleton.load("lsp14"),
        name="tiny",
        box_padding=1.1,
        recipe={"decode": "dark", "flip_test": False},
        licence="research only",
    )


def rewritten(path, out, **changed):
    """The archive at `path` with other members; None leaves one out."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for member in source.namelist():
            contents = changed.get(member.removesuffix(".json"), source.read(member))
            if contents is not None:
                target.writestr(member, contents)
    return out


class TestRoundTrip:
    def test_network_and_card(self, network, card, tmp_path):
        save_network(network, tmp_path / "tiny.keras", card)
        opened, found = open_network(tmp_path / "tiny.keras")
        assert found == card == read_card(tmp_path / "tiny.keras")
        assert (found.input_size, found.box_padding, found.recipe.decode) == ((32, 32), 1.1, "dark")
        np.testing.assert_array_equal(opened(CROPS)["heatmaps"], network(CROPS)["heatmaps"])

    def test_keras_opens_it_too(self, network, card, tmp_path):
        save_network(network, tmp_path / "tiny.keras", card)
        opened = keras.saving.load_model(tmp_path / "tiny.keras")
        np.testing.assert_array_equal(opened(CROPS)["heatmaps"], network(CROPS)["heatmaps"])

    def test_unknown_fields_are_kept(self, card):
        """A later version of the project may say more, also inside of the recipe."""
        plain = card.to_plain() | {"crowds": {"limit": 3}}
        plain["recipe"]["temperature"] = 0.5
        plain["normalization"] = {"mean": [0, 0, 0], "std": [1, 1, 1], "order": "rgb"}
        again = parse_card(json.loads(json.dumps(plain)), "file").to_plain()
        assert again["crowds"] == {"limit": 3}
        assert again["recipe"]["temperature"] == 0.5
        assert again["normalization"]["order"] == "rgb"

    def test_what_the_network_says_itself(self):
        from networks import tiny_network

        network = tiny_network(14, (64, 32), alignment="pixel_index", mean=(0.1, 0.2, 0.3))
        card = InferenceCard.of(network, Skeleton.load("lsp14"))
        assert (card.input_size, card.alignment) == ((64, 32), "pixel_index")
        assert card.normalization.mean == (0.1, 0.2, 0.3)


class TestRefusals:
    @pytest.fixture
    def file(self, network, card, tmp_path):
        save_network(network, tmp_path / "tiny.keras", card)
        return tmp_path / "tiny.keras"

    def test_a_later_version(self, file, card, tmp_path):
        later = json.dumps(card.to_plain() | {"version": CARD_VERSION + 1})
        with pytest.raises(CardError, match="later.keras: its inference card has version 2.*upgrade"):
            open_network(rewritten(file, tmp_path / "later.keras", inference_card=later))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"box_padding": -1}, "box_padding: -1: Input should be greater than 0"),
            ({"alignment": "udp"}, "alignment: 'udp': Input should be"),
            ({"skeleton": {"name": "x"}}, "required key 'keypoints' is missing"),
            ({"input_size": "large"}, "input_size"),
        ],
    )
    def test_a_broken_card(self, card, change, message):
        with pytest.raises(CardError, match=f"(?s)broken.keras: its inference card is broken: .*{message}"):
            parse_card(card.to_plain() | change, "broken.keras")

    def test_no_card(self, file, card, tmp_path):
        bare = rewritten(file, tmp_path / "bare.keras", inference_card=None)
        assert read_card(bare) is None
        with pytest.raises(CardError, match="bare.keras: has no inference card.*PoseEstimator.save"):
            open_network(bare)
        assert open_network(bare, card)[1] == card

    def test_no_file_and_no_archive(self, tmp_path):
        with pytest.raises(NetworkFileError, match="gone.keras: no such file; give a run folder"):
            open_network(tmp_path / "gone.keras")
        (tmp_path / "text.keras").write_text("weights")
        with pytest.raises(NetworkFileError, match="text.keras: is no .keras file, or a broken one"):
            open_network(tmp_path / "text.keras")
        with zipfile.ZipFile(tmp_path / "empty.keras", "w"):
            pass
        with pytest.raises(NetworkFileError, match="empty.keras: is no file of Keras 3"):
            open_network(tmp_path / "empty.keras")

    def test_a_truncated_file(self, file):
        contents = file.read_bytes()
        file.write_bytes(contents[: len(contents) // 2])
        with pytest.raises(NetworkFileError, match="tiny.keras: is no .keras file, or a broken one"):
            open_network(file)

    def test_a_network_of_the_version_before(self, file, tmp_path):
        old = json.dumps({"class_name": "P2Net", "config": {"alignment": "pure"}})
        with pytest.raises(NetworkFileError, match="old.keras: was written by p2net_tf 0.1.*git checkout"):
            open_network(rewritten(file, tmp_path / "old.keras", config=old))

    def test_a_class_that_nobody_knows(self, file, tmp_path):
        odd = json.dumps({"module": "nowhere", "class_name": "Odd", "config": {}})
        with pytest.raises(NetworkFileError, match="odd.keras: Keras .* cannot open it"):
            open_network(rewritten(file, tmp_path / "odd.keras", config=odd))

    def test_a_crash_leaves_what_was_there(self, network, card, file, monkeypatch):
        before = file.read_bytes()
        monkeypatch.setattr(InferenceCard, "to_plain", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            save_network(network, file, card)
        assert file.read_bytes() == before
        assert [path.name for path in file.parent.iterdir()] == [file.name]


class TestCardOfNetwork:
    def test_another_number_of_keypoints(self, network):
        with pytest.raises(CardError, match="gives 14 heatmaps, but the skeleton 'coco17' has 17 keypoints"):
            InferenceCard.of(network, Skeleton.load("coco17"))

    def test_no_heatmaps(self):
        crops = keras.Input((32, 32, 3))
        with pytest.raises(CardError, match="one of its outputs must be 'heatmaps'"):
            InferenceCard.of(keras.Model(crops, {"maps": crops}), Skeleton.load("coco17"))
        with pytest.raises(CardError, match="gives KerasTensor; one of its outputs must be"):
            InferenceCard.of(keras.Model(crops, crops), Skeleton.load("coco17"))

    def test_crops_of_any_size(self):
        crops = keras.Input((None, None, 3))
        maps = keras.layers.Conv2D(17, 1)(crops)
        with pytest.raises(CardError, match="not crops .* of one size"):
            InferenceCard.of(keras.Model(crops, {"heatmaps": maps}), Skeleton.load("coco17"))

    def test_updated_fields_are_checked(self, card):
        assert card.updated(recipe={"flip_test": True}).recipe.flip_test is True
        assert card.updated(recipe={"flip_test": True}).recipe.decode == "dark"
        with pytest.raises(ValueError, match="decode"):
            card.updated(recipe={"decode": "guess"})


def test_the_member_has_no_clock(network, card, tmp_path):
    """Two files of one network are equal where Keras' own parts are."""
    save_network(network, tmp_path / "a.keras", card)
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        assert archive.getinfo(CARD_FILE).date_time == (1980, 1, 1, 0, 0, 0)
