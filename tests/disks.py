"""Disks that are small, full or read-only, for tests of what happens on them."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_file_system(place: Path, kilobytes: int, read_only: bool = False):
    """A file system of its own in the folder `place`, which is made; skips where mounting is not allowed."""
    place.mkdir(parents=True, exist_ok=True)
    options = f"size={kilobytes}k" + (",ro" if read_only else "")
    mount = ["mount", "-t", "tmpfs", "-o", options, "p2net_test", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("small file systems need the right to mount them")
    try:
        yield place
    finally:
        # Lazily: a child that still ends must not keep it.
        subprocess.run(["umount", "--lazy", str(place)], check=True)
