"""The gates of a network's Attention Partial Modules (section 3.3), to look at."""

from __future__ import annotations

import keras

from p2net_tf.models.refine_net import RefineNet


def attention_gates(network: keras.Model) -> keras.Model | None:
    """A model of the same layers and weights, from crops to the gates of the network's RefineNet.

    ```python
    gates = attention_gates(network)
    gates(crops)  # {"apm_4": [B, C], "apm_8": ..., "apm_16": ..., "apm_32": ...}, each in 0..1
    ```

    Returns:
        None for a network without the modules.
    """
    refine = next((layer for layer in network.layers if isinstance(layer, RefineNet)), None)
    if refine is None or not refine.apm:
        return None
    # Within one layer: a model must not hold the four modules' `phi`, all of one name, side by side.
    gates = keras.layers.Lambda(refine.gates, name="gates")(refine.input)
    return keras.Model(network.input, gates, name=f"{network.name}_gates")
