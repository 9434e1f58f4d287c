"""How a trained network is asked: the test recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from p2net_tf.utils.yaml_files import Section


class TestRecipe(Section):
    """From crops to keypoints and pose scores, as the paper tests (section 4.1)."""

    __test__ = False  # not a test of pytest's, whatever its name

    flip_test: bool = True
    filter_sigma: Annotated[float, Field(ge=0)] = 1.0
    """Gaussian filter on the heatmaps, in heatmap pixels; 0 leaves them as they are."""
    decode: Literal["argmax", "quarter_offset", "sign", "sign_inside", "dark"] = "quarter_offset"
    keypoint_threshold: Annotated[float, Field(ge=-1, le=1)] = -1.0
    """Keypoints not above this do not count in a pose score. The paper counts all; HRNet's code takes 0.2."""
    batch_size: PositiveInt = 32
    """Crops that go through the network at once."""
