"""Networks small enough for tests."""

from p2net_tf.models import P2Net


def tiny_network(num_keypoints: int = 3, input_size=(64, 64), **options) -> P2Net:
    """A P2Net with every mechanism of the paper in it, four channels wide."""
    return P2Net(
        num_keypoints,
        input_size,
        **{
            "backbone": "small",
            "width": 4,
            "backbone_width": 4,
            "exchange_units": 1,
            "refine_bottlenecks": (0, 0, 0, 1),
            **options,
        },
    )
