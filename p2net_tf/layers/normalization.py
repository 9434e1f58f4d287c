"""Batch normalization that is right at second order and can be synchronized over replicas."""

from __future__ import annotations

import keras
from keras import ops

from p2net_tf.layers.compat import MomentsHook


@keras.saving.register_keras_serializable("p2net_tf")
class BatchNormalization(MomentsHook):
    """`keras.layers.BatchNormalization` with exact batch statistics.

    Keras takes them from `tf.nn.moments`, which stops the gradient of the mean inside the variance. That
    term is zero at first order, but a gradient of a gradient (Auto-Pose, equation 8 of the paper) needs it
    and comes out silently wrong. Here both moments are plain means, right at every order.

    The moving statistics follow within some ten steps (momentum 0.9, as in the published ResNets and HRNet;
    Keras' 0.99 leaves those of a short run near their start).

    With `synchronized=True` (TensorFlow backend) the statistics are those of the global batch, so training
    does not depend on the number of replicas.
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def moments(self, inputs, mask):
        if self.synchronized or mask is not None:
            return super().moments(inputs, mask)
        axes = [axis for axis in range(len(inputs.shape)) if axis != self.axis % len(inputs.shape)]
        mean = ops.mean(inputs, axis=axes, keepdims=True)
        return ops.squeeze(mean, axes), ops.mean(ops.square(inputs - mean), axis=axes)
