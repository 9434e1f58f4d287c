"""Every network has the parameters and the multiply-adds of its paper."""

import keras
import pytest

from p2net_tf.models import CPN, HRNet, SimpleBaseline, StackedHourglass
from p2net_tf.models.summary import count_multiply_adds, count_parameters, published_gflops

pytestmark = pytest.mark.slow

SMALL, LARGE = (256, 192), (384, 288)

PUBLISHED = [
    # Class, argument, input size, parameters in millions, GFLOPs: Sun et al., CVPR 2019, table 1.
    (SimpleBaseline, {"backbone": "resnet50"}, SMALL, 34.0, 8.9),
    (SimpleBaseline, {"backbone": "resnet101"}, SMALL, 53.0, 12.4),
    (SimpleBaseline, {"backbone": "resnet152"}, SMALL, 68.6, 15.7),
    (SimpleBaseline, {"backbone": "resnet50"}, LARGE, 34.0, 20.0),
    (SimpleBaseline, {"backbone": "resnet101"}, LARGE, 53.0, 27.9),
    (SimpleBaseline, {"backbone": "resnet152"}, LARGE, 68.6, 35.3),
    (HRNet, {"width": 32}, SMALL, 28.5, 7.1),
    (HRNet, {"width": 48}, SMALL, 63.6, 14.6),
    (HRNet, {"width": 32}, LARGE, 28.5, 16.0),
    (HRNet, {"width": 48}, LARGE, 63.6, 32.9),
    (CPN, {"backbone": "resnet50"}, SMALL, 27.0, 6.2),
    # Chen et al., CVPR 2018, table 8.
    (CPN, {"backbone": "resnet50"}, LARGE, 27.0, 13.9),
]
HALF_A_DIGIT = 0.05


@pytest.fixture(scope="module")
def build():
    """Builds networks that have shapes, but no values, at a tenth of the time."""

    def build(kind, options, size) -> keras.Model:
        with keras.StatelessScope(initialize_variables=False):
            return kind(17, size, **options)

    yield build
    # Else Keras gives all of them values at the end of its next scope.
    keras.utils.clear_session()


@pytest.mark.parametrize(("kind", "options", "size", "parameters", "gflops"), PUBLISHED)
def test_within_one_percent(build, kind, options, size, parameters, gflops):
    network = build(kind, options, size)
    assert count_parameters(network) / 1e6 == pytest.approx(parameters, rel=0.01)
    assert abs(published_gflops(network) - gflops) <= 0.01 * gflops + HALF_A_DIGIT


def test_hourglass(build):
    """25.1 M parameters in HRNet's table 1, 19.48 G in CPN's table 3. HRNet's 14.3 G are what is left without
    the residual behind each hourglass, which pose-hg-train had not had from the start."""
    network = build(StackedHourglass, {"stacks": 8}, SMALL)
    assert count_parameters(network) / 1e6 == pytest.approx(25.1, rel=0.02)
    gflops, counts = published_gflops(network), count_multiply_adds(network)
    assert gflops == pytest.approx(19.48, rel=0.02)
    behind = sum(counts[f"residual_{number}"] for number in range(1, 9)) / 1024**3
    assert abs(gflops - behind - 14.3) <= HALF_A_DIGIT


def test_what_the_published_count_leaves_out_and_counts_four_times(build):
    """CPN's heads on the way, each 1x1 and 3x3 at its own stride; three transposed convolutions. And what is
    not done here: the 1x1 convolutions, to 128 and to 256 channels, of what came from a coarser stride."""
    cpn = build(CPN, {}, SMALL)
    counts = count_multiply_adds(cpn)
    sizes = [h * w for h, w in ((64, 48), (32, 24), (16, 12), (8, 6))]
    heads = sum(sizes) * 256 * (256 + 9 * 17)
    spared = sum(sizes[0] - size for size in sizes) * 256 * (128 + 256)
    assert sum(counts.values()) - published_gflops(cpn) * 1024**3 == heads - spared
    baseline = build(SimpleBaseline, {"width": 8}, SMALL)
    counts = count_multiply_adds(baseline)
    deconvolutions = sum(counts[f"deconv_{number}"] for number in (1, 2, 3))
    assert published_gflops(baseline) * 1024**3 - sum(counts.values()) == 3 * deconvolutions
