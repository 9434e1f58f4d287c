"""The packages of every extra: there or missing."""

from __future__ import annotations

import re
from importlib import metadata

from packaging.requirements import Requirement

from p2net_tf.doctor.machine import Package
from p2net_tf.utils.provenance import package_version

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
        required=str(requirement.specifier),
        version=version,
        fits=version is not None and requirement.specifier.contains(version, prereleases=True),
    )
