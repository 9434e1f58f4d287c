"""`p2net config ...`: the experiments that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.cli.options import AsJson, Config, Overrides, print_json, start, writable_folder
from p2net_tf.utils.console import console

app = typer.Typer(help="Find, read and copy the configurations of experiments.", no_args_is_help=True)


@app.command("list", epilog="Example: `p2net config list --json`")
def config_list(as_json: AsJson = False):
    """Every configuration by its name; as JSON also what to expect of it and the command that runs it."""
    start(as_json, tensorflow=False)
    from p2net_tf.config.catalog import list_configs

    entries = list_configs()
    if as_json:
        print_json([vars(entry) | {"file": str(entry.file)} for entry in entries])
        return
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        console.print(f"{entry.name:{width}}  {entry.summary}", markup=False, soft_wrap=True)


@app.command(
    "show", epilog="Example: `p2net config show p2net_small_lsp_128x128 training.epochs=5 --resolved`"
)
def config_show(
    config: Config,
    overrides: Overrides = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="every setting, with defaults, variables and changes applied")
    ] = False,
):
    """Print a configuration: what to expect of it, the command that runs it, its settings."""
    if overrides and not resolved:
        raise typer.BadParameter("changes are shown in the resolved configuration; add --resolved")
    start(as_json=False, tensorflow=False)
    if resolved:
        from p2net_tf.config.loading import load_config
        from p2net_tf.utils.yaml_files import dump_text

        text = dump_text(load_config(config, overrides or []).model_dump(mode="json"))
    else:
        from p2net_tf.config.catalog import find_config

        text = find_config(config).read_text(encoding="utf-8")
    console.print(text, end="", markup=False, soft_wrap=True)


@app.command("copy", epilog="Example: `p2net config copy p2net_small_lsp_128x128 --to experiments`")
def config_copy(
    config: Config,
    to: Annotated[
        Path, typer.Option(help="folder, made where it is missing", callback=writable_folder)
    ] = Path("."),
    force: Annotated[bool, typer.Option("--force", help="write over a file that is there")] = False,
):
    """Copy a configuration, to change it and run it from there."""
    start(as_json=False, tensorflow=False)
    from p2net_tf.config.catalog import copy_config, find_config

    console.print(str(copy_config(find_config(config), to, force)), markup=False, soft_wrap=True)
