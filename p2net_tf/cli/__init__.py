"""`p2net <verb>`: thin; every verb calls one function of the package and prints what it returns.

TensorFlow takes seconds to import, so verbs import what they need when they run.
"""

from __future__ import annotations

import os
import sys

import typer
from rich.markup import escape

from p2net_tf.cli import (
    ablation,
    bench,
    config,
    conversion,
    data,
    doctor,
    evaluation,
    export,
    models,
    policy,
    prediction,
    search,
    serving,
    training,
    webapp,
)
from p2net_tf.utils.console import messages

# TensorFlow reads it when it is imported; people can still ask for its chatter.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

app = typer.Typer(
    help="P2Net: top-down human pose estimation for Keras. Start with `p2net demo`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
# `p2net --help` lists the verbs in this order.
for verbs in (
    training,
    search,
    ablation,
    prediction,
    webapp,
    models,
    evaluation,
    conversion,
    export,
    serving,
    doctor,
):
    app.add_typer(verbs.app)
for name, verbs in {"config": config, "data": data, "policy": policy, "bench": bench}.items():
    app.add_typer(verbs.app, name=name)


def main() -> None:
    """Entry point: errors that a user can mend are one line, without a traceback.

    Exits with 2 after an error, those of the system included. After 75, where the work was asked to
    stop, and 76, where another worker was lost, it can be resumed.
    """
    from p2net_tf.utils.backend import demand_tensorflow
    from p2net_tf.utils.exceptions import Interrupted, UserError

    try:
        if "--help" not in sys.argv:
            demand_tensorflow("p2net")
        app()
    except UserError as error:
        _say("[bold red]error[/bold red]", str(error))
        sys.exit(error.EXIT_CODE)
    except Interrupted as stop:
        _say("[yellow]stopped[/yellow]", str(stop))
        sys.exit(Interrupted.EXIT_CODE)
    except OSError as error:  # of a disk, a network or the system, wherever nobody expected it
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        _say("[bold red]error[/bold red]", f"{place}{error.strerror or error}")
        sys.exit(UserError.EXIT_CODE)


def _say(what: str, words: str) -> None:
    """One line on stderr, also after `--json`."""
    messages.quiet = False
    # Escaped, or the extra in `p2net_tf[import]` would be taken for a style.
    messages.print(f"{what} {escape(words)}", soft_wrap=True, markup=True)
