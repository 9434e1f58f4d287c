import numpy as np
import pytest
from torchvision_peer import torch

from p2net_tf.losses import boxes

F = torch.nn.functional


@pytest.mark.parametrize("beta", [0.0, 1 / 9, 1.0])
def test_smooth_l1_is_pytorchs(beta):
    rng = np.random.default_rng(0)
    true, found = (rng.normal(size=(2, 30, 4)).astype(np.float32) for _ in range(2))
    expected = F.smooth_l1_loss(torch.tensor(found), torch.tensor(true), beta=beta, reduction="none").sum(-1)
    np.testing.assert_allclose(boxes.smooth_l1(true, found, beta), expected, rtol=1e-5)


def test_cross_entropies_are_pytorchs():
    rng = np.random.default_rng(0)
    logits, classes = rng.normal(0, 3, (2, 30, 5)).astype(np.float32), rng.integers(0, 5, (2, 30))
    expected = F.cross_entropy(
        torch.tensor(logits).reshape(60, 5), torch.tensor(classes).reshape(60), reduction="none"
    )
    np.testing.assert_allclose(boxes.cross_entropy(classes, logits), expected.reshape(2, 30), rtol=1e-4)
    positive = classes > 2
    expected = F.binary_cross_entropy_with_logits(
        torch.tensor(logits[..., 0]), torch.tensor(positive.astype(np.float32)), reduction="none"
    )
    np.testing.assert_allclose(boxes.binary_cross_entropy(positive, logits[..., 0]), expected, rtol=1e-4)


def test_means_over_what_is_chosen():
    values = np.float32([[1, 2, 3], [4, 5, 6]])
    found = boxes.mean_over(values, np.bool_([[True, False, True], [False] * 3]))
    np.testing.assert_array_equal(found, [2, 0])
