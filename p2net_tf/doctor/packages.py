"""The packages of every extra: there or missing, and what they are for."""

from __future__ import annotations

import re
from importlib import metadata

from packaging.requirements import Requirement

from p2net_tf.doctor.machine import Package
from p2net_tf.utils.provenance import package_version

PURPOSES = {
    "tensorflow": "computes",
    "keras": "layers, optimizers, files",
    "numpy": "arrays",
    "pillow": "pictures",
    "h5py": "weights and MPII's files",
    "safetensors": "published weights",
    "pycocotools": "OKS evaluation",
    "opencv-python-headless": "drawing, video",
    "scipy": "MATLAB's annotation files",
    "pydantic": "checked configurations",
    "PyYAML": "configurations, policies",
    "typer": "command line",
    "rich": "tables, progress",
    "matplotlib": "figures of reports",
    "tensorboard": "curves of a training",
    "torch": "published weights in files of PyTorch",
    "keras-hub": "person boxes, ImageNet weights",
    "ipykernel": "notebooks",
    "nbclient": "notebooks",
    "nbformat": "notebooks",
    "nbconvert": "notebooks",
    "tensorflow-serving-api": "gRPC clients and servers, warm-up requests",
    "ai-edge-litert": "running TFLite files",
    "keras-tuner": "black-box search to compare with",
    "pytest": "tests",
    "psutil": "tests",
    "check-jsonschema": "tests",
    "kubernetes-validate": "tests",
    "pytest-xdist": "tests",
    "ruff": "style",
}
_EXTRA = re.compile(r"extra\s*==\s*['\"](.+?)['\"]")


def list_packages() -> tuple[Package, ...]:
    """Core first, then extra by extra, as the installed p2net_tf declares them; empty where it is not."""
    try:
        declared = metadata.requires("p2net_tf") or []
    except metadata.PackageNotFoundError:
        return ()
    packages = [_package(Requirement(line)) for line in declared]
    return tuple(sorted(packages, key=lambda package: (package.extra is not None, package.extra or "")))


def _package(requirement: Requirement) -> Package:
    extra = _EXTRA.search(str(requirement.marker or ""))
    version = package_version(requirement.name)
    return Package(
        name=requirement.name,
        extra=extra and extra[1],
        purpose=PURPOSES.get(requirement.name, ""),
        required=str(requirement.specifier),
        version=version,
        fits=version is not None and requirement.specifier.contains(version, prereleases=True),
    )
