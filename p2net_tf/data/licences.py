"""What one may do with weights that were trained on a data set."""

from __future__ import annotations

from collections.abc import Iterable

from p2net_tf.data.settings import DatasetConfig

_LICENCES = {
    "coco": "COCO: annotations CC BY 4.0, images under their own Flickr licences; weights for research",
    "mpii": "MPII Human Pose (Andriluka et al., CVPR 2014): research use only",
    "lsp": "Leeds Sports Pose (Johnson and Everingham, BMVC 2010): research use only; cite it",
    "lspet": "Leeds Sports Pose Extended (Johnson and Everingham, CVPR 2011): research use only; cite it",
    "synthetic": "rendered by p2net_tf: no rights of others",
    "records": "records of a data set: the licence is that of the set they were made of",
}
"""Of the data sets that the readers know, by format."""


def licences_of(sources: Iterable[DatasetConfig]) -> list[str]:
    """Of everything that a network was trained on, each once."""
    return sorted({_LICENCES[source.format] for source in sources})
