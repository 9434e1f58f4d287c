"""A conversion as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from p2net_tf.convert.convert import Conversion


def print_conversion(conversion: Conversion, console: Console) -> None:
    table = Table(show_header=False)
    height, width = conversion.input_size
    rows = {
        "source": f"{conversion.source} ({conversion.origin})",
        "sha256": conversion.sha256,
        "model": f"{conversion.model}, {conversion.data_set}, {height}x{width}",
        "tensors": f"{conversion.tensors}, all of them",
        "parameters": f"{conversion.parameters / 1e6:.1f} M",
        "channels": f"{conversion.channels.upper()} as published, RGB now",
        "alignment": "pixel_index",
        "written": f"{conversion.network_file}, {conversion.config_file}",
    }
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    console.print(f"next: p2net evaluate {conversion.network_file}", soft_wrap=True)
