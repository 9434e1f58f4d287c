"""What every layer of the project must do, in one routine, and the numpy that layers are held to."""

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.layers import BilinearUpsampling

BATCH = 3


def check_layer(layer, input_shape, tmp_path, bfloat16_tolerance=0.05):
    """Runs `layer` through all checks below.

    Args:
        layer: a fresh layer, not built.
        input_shape: `(H, W, C)`, or a list of these for a layer of several inputs.
        bfloat16_tolerance: largest error under mixed_bfloat16, relative to the largest output.
    """
    rng = np.random.default_rng(0)
    inputs = keras.tree.map_shape_structure(
        lambda shape: rng.normal(size=(BATCH, *shape)).astype("float32"), input_shape
    )
    model = _model_of(layer, input_shape)
    randomize_weights(model, rng)
    outputs = _run(model, inputs)
    _check_shapes(layer, model, inputs, outputs)
    _check_round_trip(layer, model, inputs, outputs, tmp_path)
    _check_batch_is_a_loop_of_singles(model, inputs, outputs)
    _check_bfloat16(layer, model, input_shape, inputs, outputs, bfloat16_tolerance)
    check_every_weight_learns(model, inputs)


def randomize_weights(model, rng, deep: bool = False):
    """Random values for all weights, moving statistics too, so that no path is the identity by accident.

    Args:
        deep: kernels keep the variance of their inputs, so that a hundred layers do not overflow.
    """
    for weight in model.weights:
        positive = weight.name == "moving_variance"
        deviation = np.prod(weight.shape[:-1]) ** -0.5 if deep and weight.name == "kernel" else 0.3
        values = rng.uniform(0.5, 1.5, weight.shape) if positive else rng.normal(0, deviation, weight.shape)
        weight.assign(values + (weight.name == "gamma"))


def _model_of(layer, input_shape) -> keras.Model:
    inputs = keras.tree.map_shape_structure(lambda shape: keras.Input(shape), input_shape)
    return keras.Model(inputs, layer(inputs))


def _run(model, inputs, **options) -> list[np.ndarray]:
    return [np.asarray(output) for output in keras.tree.flatten(model(inputs, **options))]


def _check_shapes(layer, model, inputs, outputs):
    """Symbolic, eager and computed shapes agree."""
    symbolic = [tuple(tensor.shape) for tensor in keras.tree.flatten(model.output)]
    assert symbolic == [(None, *output.shape[1:]) for output in outputs]
    computed = layer.compute_output_shape(
        keras.tree.map_structure(lambda x: x.shape, inputs) if isinstance(inputs, list) else inputs.shape
    )
    computed = computed if isinstance(computed, list) else [computed]
    assert [tuple(shape) for shape in computed] == [output.shape for output in outputs]
    assert layer.built


def _check_round_trip(layer, model, inputs, outputs, tmp_path):
    """The configuration rebuilds the layer; a `.keras` file gives back equal outputs."""
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
    model.save(tmp_path / "layer.keras")
    loaded = keras.saving.load_model(tmp_path / "layer.keras")
    for before, after in zip(outputs, _run(loaded, inputs), strict=True):
        np.testing.assert_array_equal(after, before)


def _check_batch_is_a_loop_of_singles(model, inputs, outputs):
    for i in range(BATCH):
        single = _run(model, keras.tree.map_structure(lambda x, i=i: x[i : i + 1], inputs))
        for whole, part in zip(outputs, single, strict=True):
            np.testing.assert_allclose(part[0], whole[i], rtol=1e-4, atol=1e-5)


def _check_bfloat16(layer, model, input_shape, inputs, outputs, tolerance):
    """Float32 variables, bfloat16 outputs, nearly the same values."""
    low_layer = type(layer).from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})
    low = _model_of(low_layer, input_shape)
    low.set_weights(model.get_weights())
    assert {weight.dtype for weight in low.weights} <= {"float32"}
    for expected, tensor in zip(outputs, keras.tree.flatten(low(inputs)), strict=True):
        assert tensor.dtype == "bfloat16"
        error = np.abs(np.asarray(tf.cast(tensor, "float32")) - expected).max()
        assert error <= tolerance * np.abs(expected).max()


def check_every_weight_learns(model, inputs):
    """In training mode, a random weighting of all outputs has a gradient at each of them."""
    rng = np.random.default_rng(1)
    with tf.GradientTape() as tape:
        outputs = keras.tree.flatten(model(inputs, training=True))
        loss = tf.add_n([tf.reduce_sum(output * rng.normal(size=output.shape)) for output in outputs])
    for weight, gradient in zip(
        model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True
    ):
        assert gradient is not None, weight.path
        assert np.isfinite(gradient).all(), weight.path
        assert np.any(gradient), weight.path


def check_of_upsampled(layer, factors=(1, 2, 4)):
    """`of_upsampled` is `call` on what was upsampled and concatenated, and so are its gradients: to the last
    digits of float64, with the statistics of the batch and with those that were learned.

    Args:
        layer: not built, of dtype float64.
    """
    rng = np.random.default_rng(0)
    parts = [tf.constant(rng.normal(size=(2, 8 // f, 12 // f, 2 + f))) for f in factors]
    grow = [BilinearUpsampling(factor, dtype="float64") for factor in factors]

    def of_concatenated(training):
        grown = [upsample(x) for upsample, x in zip(grow, parts, strict=True)]
        return layer(tf.concat(grown, axis=-1), training=training)

    of_concatenated(False)
    randomize_weights(layer, rng)
    start = layer.get_weights()
    for training in (False, True):
        results = []
        for compute in (of_concatenated, lambda training: layer.of_upsampled(parts, grow, training)):
            layer.set_weights(start)
            with tf.GradientTape() as tape:
                tape.watch(parts)
                output = compute(training)
                total = tf.reduce_sum(output * np.random.default_rng(1).normal(size=output.shape))
            gradients = tape.gradient(total, [*parts, *layer.trainable_weights])
            results.append([output, *gradients, *layer.get_weights()])
        for expected, found in zip(*results, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


def convolve(x, kernel, strides=1, dilation=1) -> np.ndarray:
    """`[B, H, W, C]` convolved tap by tap with `[k, k, C, C']`; both sides of an axis padded alike."""
    side = kernel.shape[0]
    border = dilation * (side - 1) // 2
    padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    height, width = (-(-n // strides) for n in x.shape[1:3])
    total = 0.0
    for i in range(side):
        for j in range(side):
            rows = padded[:, i * dilation :: strides][:, :height]
            taps = rows[:, :, j * dilation :: strides][:, :, :width]
            total = total + taps @ kernel[i, j]
    return total


def conv_norm(x, layer) -> np.ndarray:
    """What `ConvNorm` computes in inference mode, in numpy."""
    norm = layer.norm
    gamma, beta, mean, variance = map(
        np.asarray, (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    x = convolve(x, np.asarray(layer.conv.kernel), layer.strides, layer.dilation_rate)
    x = (x - mean) / np.sqrt(variance + norm.epsilon) * gamma + beta
    return np.maximum(x, 0) if layer.activation == "relu" else x
