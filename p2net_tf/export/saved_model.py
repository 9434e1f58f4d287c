"""A run as a SavedModel that TF-Serving, a Session or any program with TensorFlow's C library runs.

Keras' `ExportArchive` writes it: `tf.saved_model.save` of a module that holds a Keras 3 model loads in Python
and fails in a Session, which is how TF-Serving loads.
"""

from __future__ import annotations

from pathlib import Path

import keras

from p2net_tf.experiments.runs import Run
from p2net_tf.export.graph import PoseGraph
from p2net_tf.export.model_card import model_card, write_card
from p2net_tf.export.networks import network_to_export
from p2net_tf.export.options import Exif, ExportOptions
from p2net_tf.export.warmup import write_warmup
from p2net_tf.utils.console import messages
from p2net_tf.utils.files import newest_version, next_version


def export_saved_model(run: Run, out: str | Path, options: ExportOptions | None = None) -> Path:
    """Writes the next version of the model into `out` and returns its folder `out/N`.

    The version is there as a whole or not at all; `out` is what TF-Serving calls the model's base path.
    """
    options = options or ExportOptions()
    network = network_to_export(run.network, options)
    graph = PoseGraph(network, run.config, options.exif is Exif.upright)
    with next_version(out) as scratch:
        archive = keras.export.ExportArchive()
        for name, (function, inputs) in graph.signatures.items():
            archive.add_endpoint(name, function, inputs)
        archive.write_out(str(scratch), verbose=False)
        if not write_warmup(scratch, run.config.name, run.network.input_size):
            messages.print(
                "no warm-up requests: they need tensorflow-serving-api (pip install 'p2net_tf[serving]')",
                soft_wrap=True,
            )
        write_card(model_card(run, options, format="saved_model", signatures=_described(graph)), scratch)
    return newest_version(out)


def _described(graph: PoseGraph) -> dict:
    """Input names, types and shapes of every signature."""
    return {
        name: {spec.name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()} for spec in inputs}
        for name, (_, inputs) in graph.signatures.items()
    }
