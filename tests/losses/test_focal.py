import numpy as np
import pytest

from p2net_tf.losses import FocalLoss


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 1.5), (0.5, 2.0), (0.25, 0.0)])
def test_it_is_the_closed_form(alpha, gamma):
    """`-alpha_t (1 - p_t) ** gamma log p_t`, summed and divided by the positives."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2, 50, 3)).astype(np.float32)
    labels = np.eye(3)[rng.integers(0, 3, (2, 50))] * rng.integers(0, 2, (2, 50, 1))
    p = sigmoid(logits.astype(np.float64))
    p_t, alpha_t = np.where(labels, p, 1 - p), np.where(labels, alpha, 1 - alpha)
    expected = np.sum(-alpha_t * (1 - p_t) ** gamma * np.log(p_t), axis=(1, 2)) / np.sum(labels, axis=(1, 2))
    np.testing.assert_allclose(FocalLoss(alpha, gamma, reduction=None)(labels, logits), expected, rtol=2e-6)


def test_anchors_that_do_not_count():
    logits = np.float32([[[3.0], [-2.0], [1.0]]])
    loss = FocalLoss(reduction=None)
    counted = loss(np.float32([[[1], [0]]]), logits[:, :2])
    np.testing.assert_allclose(loss(np.float32([[[1], [0], [-1]]]), logits), counted, rtol=1e-6)


def test_a_picture_without_positives_has_a_finite_loss():
    """Its negatives count as they are: log(2) * 0.5 ** 1.5 * 0.75 each, where nothing is known."""
    found = FocalLoss(reduction=None)(np.zeros((1, 4, 1)), np.zeros((1, 4, 1), np.float32))
    np.testing.assert_allclose(found, [4 * 0.75 * 0.5**1.5 * np.log(2)], rtol=1e-6)
