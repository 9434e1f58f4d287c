import keras
import numpy as np
from layer_checks import check_every_weight_learns, randomize_weights

from p2net_tf.models.detnet import DETNET_STRIDES, DetNet, small_detnet

IMAGES = np.random.default_rng(0).normal(size=(2, 64, 32, 3)).astype("float32")


def test_it_keeps_its_resolution_behind_c4(tmp_path):
    layer = DetNet(small_detnet(16, blocks=1))
    inputs = keras.Input(IMAGES.shape[1:])
    model = keras.Model(inputs, layer(inputs))
    randomize_weights(model, np.random.default_rng(1), deep=True)
    maps = model(IMAGES)
    expected = [
        (2, 64 // stride, 32 // stride, channels)
        for stride, channels in zip(DETNET_STRIDES, layer.spec.channels, strict=True)
    ]
    assert [tuple(x.shape) for x in maps] == expected == layer.compute_output_shape(IMAGES.shape)
    check_every_weight_learns(model, IMAGES)
    maps = model(IMAGES)  # whose statistics have moved
    model.save(tmp_path / "detnet.keras")
    for before, after in zip(maps, keras.saving.load_model(tmp_path / "detnet.keras")(IMAGES), strict=True):
        np.testing.assert_array_equal(after, before)


def test_the_first_dilated_block_of_a_stage_projects_at_equal_channels():
    layer = DetNet(small_detnet(16, blocks=2))
    layer.build((None, 64, 64, 3))
    projects = [[block.project is not None for block in stage] for stage in layer.dilated_stages]
    assert projects == [[True, False], [True, False]]
    assert {block.dilation_rate for stage in layer.dilated_stages for block in stage} == {2}
