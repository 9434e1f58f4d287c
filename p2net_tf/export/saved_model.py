"""A run as a SavedModel that TF-Serving, a Session or any program with TensorFlow's C library runs.

Keras' `ExportArchive` writes it: `tf.saved_model.save` of a module that holds a Keras 3 model loads in Python
and fails in a Session, which is how TF-Serving loads.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras

from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.export.graph import PoseGraph
from p2net_tf.export.model_card import model_card, write_card
from p2net_tf.export.networks import network_to_export
from p2net_tf.export.options import Exif, ExportOptions
from p2net_tf.export.people import PeopleGraph
from p2net_tf.export.warmup import write_warmup
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.choosing_precision import choose_precision
from p2net_tf.inference.precision import Precision
from p2net_tf.utils.console import messages
from p2net_tf.utils.files import demand_utf8, newest_version, next_version

SERVED_BATCHES = (1, 16)
"""Crops at once by which `precision=auto` measures: one request alone, and what our server puts together at
most. It is the machine that exports which is measured."""


def export_saved_model(
    network: keras.Model,
    card: InferenceCard,
    out: str | Path,
    options: ExportOptions | None = None,
    facts: dict | None = None,
) -> Path:
    """Writes the next version of the model into `out` and returns its folder `out/N`.

    The version is there as a whole or not at all; `out` is what TF-Serving calls the model's base path.

    Args:
        facts: more to say in `model_card.json`.
    """
    options = options or ExportOptions()
    demand_utf8(out)
    detector = NetworkDetector.load(options.detector) if options.detector else None
    choice = None
    if options.precision is Precision.auto:
        choice = choose_precision(network, card, SERVED_BATCHES)
        messages.print(str(choice), markup=False, soft_wrap=True)
        options = replace(options, precision=choice.precision)
    graph = _graph(network_to_export(network, options), card, options, detector)
    with next_version(out) as scratch:
        archive = keras.export.ExportArchive()
        for name, (function, inputs) in graph.signatures.items():
            archive.add_endpoint(name, function, inputs)
        archive.write_out(str(scratch), verbose=False)
        if not write_warmup(scratch, card.name, card.input_size):
            messages.print(
                "no warm-up requests: they need tensorflow-serving-api (pip install 'p2net_tf[serving]')",
                soft_wrap=True,
            )
        told = {"format": "saved_model", "signatures": _described(graph), **(facts or {})}
        if choice is not None:
            told["precision_choice"] = choice.to_dict()
        if detector is not None:
            told["detector"] = detector.card.to_plain()
        write_card(model_card(card, options, **told), scratch)
    return newest_version(out)


def _graph(
    network: keras.Model, card: InferenceCard, options: ExportOptions, detector: NetworkDetector | None
) -> PoseGraph:
    upright = options.exif is Exif.upright
    if detector is None:
        return PoseGraph(network, card, upright)
    return PeopleGraph(network, card, upright, detector)


def _described(graph: PoseGraph) -> dict:
    """Input names, types and shapes of every signature."""
    return {
        name: {spec.name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()} for spec in inputs}
        for name, (_, inputs) in graph.signatures.items()
    }
