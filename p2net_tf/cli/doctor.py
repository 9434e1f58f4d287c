"""`p2net doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.cli.options import AsJson, print_json, start
from p2net_tf.utils.console import console

app = typer.Typer()


@app.command(epilog="Example: `p2net doctor --out /data/runs`")
def doctor(
    out: Annotated[
        Path, typer.Option("--out", "--run", help="folder of runs, or one of them: its disk is measured")
    ] = Path("runs"),
    as_json: AsJson = False,
):
    """Say what this machine is, and what would make training on it slow or impossible."""
    # TensorFlow is asked in a process of its own: the doctor is to live on where it does not start.
    start(as_json, tensorflow=False)
    from p2net_tf.cli.doctor_table import print_report
    from p2net_tf.doctor.findings import find
    from p2net_tf.doctor.gather import gather_machine
    from p2net_tf.doctor.report import to_document

    machine = gather_machine(out)
    findings = find(machine)
    if as_json:
        print_json(to_document(machine, findings))
    else:
        print_report(machine, findings, console)
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)
