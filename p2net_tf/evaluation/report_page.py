"""A report as one HTML page without scripts, fonts or files from elsewhere."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

_STYLE = """
:root { color-scheme: light dark; --ink: #16191f; --soft: #5c6675; --line: #e3e6eb; --page: #f6f7f9;
  --card: #ffffff; --accent: #2f66d8; --bar: #2f66d81f; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceef2; --soft: #98a2b1; --line: #2b3039;
  --page: #111318; --card: #191c22; --accent: #7fa8ff; --bar: #7fa8ff26; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 ui-sans-serif, system-ui,
  -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: clamp(24px, 5vw, 64px) clamp(16px, 4vw, 40px); }
h1 { font-size: clamp(1.7rem, 4.5vw, 2.5rem); line-height: 1.15; letter-spacing: -0.022em; margin: 0;
  overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; letter-spacing: -0.01em; margin: 56px 0 16px; }
h3 { font-size: .92rem; font-weight: 600; margin: 0 0 10px; }
.subtitle { color: var(--soft); font-size: 1.06rem; margin: 10px 0 0; max-width: 70ch;
  text-wrap: pretty; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 14px;
  margin-top: 36px; }
.card, .panel { background: var(--card); border: 1px solid var(--line); border-radius: 14px; }
.card { padding: 16px 18px; display: flex; flex-direction: column; justify-content: space-between; }
.card .label { color: var(--soft); font-size: .84rem; }
.card .number { font-size: 1.4rem; font-weight: 650; letter-spacing: -0.02em; line-height: 1.3;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.card:first-child .number { color: var(--accent); font-size: 2.2rem; line-height: 1.1; }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 14px;
  align-items: start; }
.panel { padding: 18px 20px; overflow-x: auto; min-width: 0; }
.panel.wide { grid-column: 1 / -1; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; border-top: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 500; }
thead th { color: var(--soft); border-top: 0; font-size: .82rem; }
th:first-child { text-align: left; padding-left: 0; }
td:last-child { padding-right: 6px; }
td.bar { background: linear-gradient(to right, var(--bar) var(--share), transparent var(--share)) no-repeat
  0 50% / 100% 62%; width: 55%; border-radius: 3px; }
figure { margin: 0 0 14px; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; border-radius: 6px; }
figcaption { color: var(--soft); font-size: .88rem; margin-top: 12px; }
.notes { margin: 28px 0 0; padding: 14px 20px 14px 38px; }
.notes li + li { margin-top: 4px; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .88rem/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 230px), 1fr)); gap: 14px 24px;
  margin: 0; }
dt { color: var(--soft); font-size: .82rem; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
footer { color: var(--soft); font-size: .84rem; margin-top: 48px; }
@media print { body { background: none; } .card, .panel { break-inside: avoid; } }
""".strip()
_MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


def render_page(report: dict, folder: Path, twin: str = "report.json") -> str:
    """The page of a report (see `p2net_tf.evaluation.report`) of JSON types; `folder` holds its figures.

    Args:
        twin: file with the same numbers, which the page names.

    Raises:
        FileNotFoundError: a figure is not there.
        ValueError: a figure is neither PNG nor JPEG.
    """
    title = escape(report["title"])
    subtitle = f'<p class="subtitle">{escape(report["subtitle"])}</p>' if report.get("subtitle") else ""
    parts = [
        f"<header><h1>{title}</h1>{subtitle}</header>",
        _cards(report.get("headline") or {}),
        _notes(report.get("notes") or []),
        _section("Scores", _tables(report.get("scores") or {})),
        _section("Figures", "".join(_figure(figure, folder) for figure in report.get("figures") or [])),
        _section("Reproduce", _command(report.get("command"))),
        _section("Environment", _facts(report.get("environment") or {})),
        f"<footer>The same numbers, for programs: {escape(twin)}</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def format_value(value) -> str:
    """A number as the page shows it: fixed decimals by its size, thousands in groups, a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    size = abs(value)
    if isinstance(value, int) or size >= 1000:
        text = f"{value:,.0f}"
    elif size >= 1:
        text = f"{value:.2f}"
    else:
        text = f"{value:.4f}" if size >= 0.001 or size == 0 else f"{value:.3g}"
    return text.replace("-", "−", 1) if value < 0 else text


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{content}\n</section>" if content else ""


def _cards(headline: dict) -> str:
    cards = "\n".join(
        f'<div class="card"><div class="label">{escape(label)}</div>'
        f'<div class="number">{escape(format_value(value))}</div></div>'
        for label, value in headline.items()
    )
    return f'<div class="cards">\n{cards}\n</div>' if cards else ""


def _notes(notes: list[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="panel notes">{items}</ul>' if items else ""


def _tables(scores: dict) -> str:
    tables = "\n".join(_table(title, rows) for title, rows in scores.items())
    return f'<div class="tables">\n{tables}\n</div>' if tables else ""


def _table(title: str, rows: dict) -> str:
    columns = list(dict.fromkeys(name for row in rows.values() if isinstance(row, dict) for name in row))
    if columns:
        head = "".join(f"<th>{escape(name)}</th>" for name in columns)
        head = f"<thead><tr><th></th>{head}</tr></thead>"
        body = "".join(_row(name, [row.get(column) for column in columns]) for name, row in rows.items())
    else:
        head, full = "", _full_bar(list(rows.values()))
        body = "".join(_row(name, [value], full) for name, value in rows.items())
    wide = " wide" if len(columns) > 4 else ""
    return (
        f'<div class="panel{wide}"><h3>{escape(title)}</h3><table>{head}<tbody>{body}</tbody></table></div>'
    )


def _row(name: str, values: list, full: float | None = None) -> str:
    cells = "".join(_value_cell(value, full) for value in values)
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'


def _value_cell(value, full: float | None) -> str:
    text = escape(format_value(value))
    if full is None or value is None:
        return f"<td>{text}</td>"
    return f'<td class="bar" style="--share: {100 * value / full:.2f}%">{text}</td>'


def _full_bar(values: list) -> float | None:
    """The value of a full bar: 1 or 100 for rates; None for a table of anything else."""
    numbers = [value for value in values if value is not None]
    if not numbers or not all(isinstance(value, float) and 0 <= value <= 100 for value in numbers):
        return None
    return 1.0 if max(numbers) <= 1 else 100.0


def _figure(figure: dict, folder: Path) -> str:
    path = folder / figure["file"]
    if path.suffix.lower() not in _MIME:
        raise ValueError(f"{path}: a report shows .png and .jpg figures only")
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    caption = escape(figure.get("caption") or "")
    shown = f"<figcaption>{caption}</figcaption>" if caption else ""
    source = f"data:{_MIME[path.suffix.lower()]};base64,{data}"
    return (
        f'<figure class="panel"><img src="{source}" alt="{caption or escape(path.stem)}">{shown}</figure>\n'
    )


def _command(command: str | None) -> str:
    return f'<div class="panel"><pre><code>{escape(command)}</code></pre></div>' if command else ""


def _facts(facts: dict) -> str:
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(format_value(value))}</dd></div>"
        for name, value in facts.items()
    )
    return f'<div class="panel"><dl>{items}</dl></div>' if items else ""
