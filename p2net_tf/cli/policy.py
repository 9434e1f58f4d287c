"""`p2net policy ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.cli.options import (
    Annotations,
    AsJson,
    Card,
    DataFormat,
    Format,
    Split,
    print_json,
    read_samples,
    start,
    writable_file,
)
from p2net_tf.utils.console import console

app = typer.Typer(help="List augmentation policies, and see one at work.", no_args_is_help=True)


@app.command("list", epilog="Example: `p2net policy list --json`")
def policy_list(as_json: AsJson = False):
    """The built-in policies, and the operations that policies are made of."""
    start(as_json, tensorflow=False)
    from p2net_tf.augment.listing import listing
    from p2net_tf.cli.policy_tables import print_listing

    if as_json:
        print_json(listing())
    else:
        print_listing(console)


@app.command("show", epilog="Example: `p2net policy show paper --root data/coco --split val2017`")
def policy_show(
    policy: Annotated[str, typer.Argument(help="YAML file, folder of a search, or a built-in name")],
    root: Annotated[Path, typer.Option(help="folder of the data set")],
    data_format: Format = DataFormat.coco,
    split: Split = "train",
    annotations: Annotations = None,
    skeleton: Card = "coco17",
    columns: Annotated[int, typer.Option(help="tiles per row, the plain crop included", min=2)] = 6,
    height: Annotated[int, typer.Option(help="of a crop, pixels", min=16)] = 256,
    width: Annotated[int, typer.Option(help="of a crop, pixels", min=16)] = 192,
    seed: Annotated[int, typer.Option(help="of people and draws")] = 0,
    out: Annotated[Path, typer.Option(help="PNG or JPEG", callback=writable_file)] = Path("policy.png"),
):
    """Write a sheet of every sub-policy at work on real crops with their skeletons."""
    start(as_json=False)
    from p2net_tf.augment.policies import Policy
    from p2net_tf.experiments.policy_sheet import show_policy

    chosen = Policy.load(policy)
    samples = read_samples(root, data_format, split, annotations, skeleton)
    shown = show_policy(chosen, samples, out, (height, width), seed, columns)
    console.print(f"{len(shown)} of {len(chosen.sub_policies)} sub-policies: {out}", soft_wrap=True)
