"""A machine and its findings as JSON."""

from __future__ import annotations

from dataclasses import asdict

from p2net_tf.doctor.findings import Finding
from p2net_tf.doctor.machine import Machine


def to_document(machine: Machine, findings: list[Finding]) -> dict:
    """What `--json` prints: `machine` and `findings`."""
    facts = asdict(machine)
    facts["cpu"]["flags"] = sorted(machine.cpu.flags)
    facts["disk"]["folder"] = str(machine.disk.folder)
    return {"machine": facts, "findings": [asdict(finding) for finding in findings]}
