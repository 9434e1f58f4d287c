"""What a result was computed with: versions, devices, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = ("p2net_tf", "tensorflow", "keras", "numpy", "opencv-python-headless", "pycocotools")


def describe_environment(**facts) -> dict[str, str]:
    """Name -> value of everything that a result may depend on; `facts` such as `seed=0` are added.

    Does not start TensorFlow; devices belong to the facts of a caller that did.
    """
    environment = {name: str(value) for name, value in facts.items()}
    environment["python"] = platform.python_version()
    environment |= {name: version for name in _PACKAGES if (version := package_version(name))}
    environment["platform"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    commit = git_commit(Path(__file__).parent)
    return environment | ({"commit": commit} if commit else {})


def git_commit(folder: str | Path) -> str | None:
    """The checked-out commit (12 digits, `+ changes` where files differ from it); None outside of git."""
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return None
    return f"{commit} + changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else commit


def package_version(package: str) -> str | None:
    """Of an installed distribution; None where it is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(folder, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
