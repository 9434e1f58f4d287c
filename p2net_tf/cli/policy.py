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


@app.command("list", epilog="Example: `p2net policy list runs/learned --json`")
def policy_list(
    sources: Annotated[
        list[str] | None, typer.Argument(help="files or folders of further policies", show_default=False)
    ] = None,
    as_json: AsJson = False,
):
    """The built-in policies and those named, and the operations that policies are made of."""
    start(as_json, tensorflow=False)
    from p2net_tf.augment.listing import listing
    from p2net_tf.cli.policy_tables import print_listing

    found = listing(sources or ())
    if as_json:
        print_json(found)
    else:
        print_listing(found, console)


@app.command("show", epilog="Example: `p2net policy show paper --root data/coco --split val2017`")
def policy_show(
    policy: Annotated[str, typer.Argument(help="YAML file, folder of a search or run, or a built-in name")],
    root: Annotated[
        Path | None, typer.Option(help="folder of the data set; a schedule has a chart without one, too")
    ] = None,
    data_format: Format = DataFormat.coco,
    split: Split = "train",
    annotations: Annotations = None,
    skeleton: Card = "coco17",
    columns: Annotated[int, typer.Option(help="tiles per row, the plain crop included", min=2)] = 6,
    height: Annotated[int, typer.Option(help="of a crop, pixels", min=16)] = 256,
    width: Annotated[int, typer.Option(help="of a crop, pixels", min=16)] = 192,
    seed: Annotated[int, typer.Option(help="of people and draws")] = 0,
    out: Annotated[Path, typer.Option(help="PNG or JPEG", callback=writable_file)] = Path("policy.png"),
    as_json: AsJson = False,
):
    """Write a sheet of a policy at work on real crops with their skeletons.

    Of every sub-policy; or of a schedule at start, middle and end, below a chart of its shares.
    """
    start(as_json)
    from p2net_tf.augment.listing import describe, describe_moments
    from p2net_tf.augment.schedule import PolicySchedule, load_policy
    from p2net_tf.cli.policy_tables import print_moments
    from p2net_tf.experiments.policy_sheet import show_policy
    from p2net_tf.experiments.schedule_sheet import show_schedule

    chosen = load_policy(policy)
    is_schedule = isinstance(chosen, PolicySchedule)
    if root is None and not is_schedule:
        raise typer.BadParameter(
            "a policy is shown on people; name the folder of their data", param_hint="--root"
        )
    samples = None if root is None else read_samples(root, data_format, split, annotations, skeleton)
    options = samples, out, (height, width), seed, columns
    found = describe(chosen) | {"file": str(out)}
    if is_schedule:
        show_schedule(chosen, *options)
        found["moments"] = describe_moments(chosen)
        said = f"schedule of {found['draws']} draws and {found['knots']} knots: {out}"
    else:
        found["shown"] = show_policy(chosen, *options)
        said = f"{len(found['shown'])} of {found['sub_policies']} sub-policies: {out}"
    if as_json:
        print_json(found)
        return
    if is_schedule:
        print_moments(found["moments"], console)
    console.print(said, soft_wrap=True)
