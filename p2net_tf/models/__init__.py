"""Networks from crops to heatmaps."""

from p2net_tf.models.cpn import CPN
from p2net_tf.models.hourglass import StackedHourglass
from p2net_tf.models.hrnet import HRNet
from p2net_tf.models.p2net import P2Net
from p2net_tf.models.pose_network import PoseNetwork
from p2net_tf.models.simple_baseline import SimpleBaseline

NETWORKS = {
    "p2net": P2Net,
    "simple_baseline": SimpleBaseline,
    "hrnet": HRNet,
    "cpn": CPN,
    "hourglass": StackedHourglass,
}
"""Classes by the `name` of a `model` section, whose other keys are their arguments."""

__all__ = [
    "CPN",
    "NETWORKS",
    "HRNet",
    "P2Net",
    "PoseNetwork",
    "SimpleBaseline",
    "StackedHourglass",
]
