"""Files of networks small enough for tests."""

from networks import two_convolutions

from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.keras_file import save_network
from p2net_tf.skeletons.skeleton import Skeleton


def saved_two_convolutions(path):
    """`(network, card)` of COCO's keypoints without a flip pass, which is kept in the file `path`, too."""
    network = two_convolutions(17, (64, 48))
    card = InferenceCard.of(network, Skeleton.load("coco17"), recipe={"flip_test": False})
    save_network(network, path, card)
    return network, card
