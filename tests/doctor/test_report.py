"""The report: what a machine is, and findings with their remedies."""

import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from p2net_tf.cli.doctor_table import print_report
from p2net_tf.doctor.findings import GIB, Finding, find
from p2net_tf.doctor.machine import Cpu, Disk, Machine, Memory, Package, TensorFlow
from p2net_tf.doctor.report import to_document
from p2net_tf.utils.machine import Gpu

MACHINE = Machine(
    python="3.11.7",
    system="Linux 6.1",
    cpu=Cpu("EPYC 7", "x86_64", 16, 8, quota=1.5, flags=frozenset({"avx2", "avx"}), load=0.25),
    memory=Memory(64 * GIB, 16 * GIB, 32 * GIB),
    disk=Disk(Path("/runs"), 500 * GIB, 400 * GIB, speed=123e6),
    packages=(
        Package("rich", None, ">=13", "15.0", True),
        Package("keras-hub", "hub", ">=0.20", None, False),
        Package("torch", "torch", ">=2.6", "2.13", True),
    ),
    gpus=(Gpu("H100", 80 * GIB),),
    tensorflow=TensorFlow("2.21.0", "3.15.1", "tensorflow", seconds=4.25),
    environment={"TF_CONFIG": "[broken"},
    open_files=1024,
    shared_memory=GIB // 2,
)


def printed(machine: Machine, findings: list[Finding]) -> str:
    console = Console(file=StringIO(), width=200)
    print_report(machine, findings, console)
    return console.file.getvalue()


@pytest.mark.parametrize(
    "words",
    [
        "Linux 6.1, Python 3.11.7",
        "2.21.0 (without CUDA), imported in 4.2 s",
        "3.15.1 on tensorflow",
        "EPYC 7: 16 cores, 8 usable, quota 1.5, load 0.2",
        "64.0 GiB, 16.0 GiB available, limit 32.0 GiB",
        "H100 (80.0 GiB)",
        "/runs: 400.0 GiB of 500.0 GiB free, writes 123 MB/s",
        "one per core within an operation",
        "[broken",
        "without keras-hub; pip install 'p2net_tf[hub]'",
    ],
)
def test_people_read(words):
    assert words in printed(MACHINE, [])


def test_an_extra_with_all_its_packages_is_installed():
    assert re.search(r"extra torch +installed *\n", printed(MACHINE, []))


def test_findings_come_with_their_remedies():
    text = printed(MACHINE, [Finding("warning", "too [slow]", "be faster")])
    assert "warning too [slow]\n  -> be faster\n" in text
    assert "nothing found" in printed(MACHINE, [])


def test_without_tensorflow_the_rest_is_printed():
    text = printed(replace(MACHINE, tensorflow=None, tensorflow_error="SIGILL"), [])
    assert "does not start: SIGILL" in text
    assert "EPYC 7" in text


def test_scripts_read_the_same():
    document = json.loads(json.dumps(to_document(MACHINE, find(MACHINE))))
    assert document["machine"]["cpu"]["flags"] == ["avx", "avx2"]
    assert document["machine"]["disk"]["folder"] == "/runs"
    assert document["machine"]["tensorflow"]["version"] == "2.21.0"
    assert [found["severity"] for found in document["findings"]][0] == "error"
    assert set(document["findings"][0]) == {"severity", "what", "remedy"}
