"""Draw the dashboards from Prometheus data: not Grafana, but the same expressions and places.

    python -m tests.support.observed 300             # prints the address of a Prometheus
    python grafana/picture.py ADDRESS [SECONDS [AGO]]  # with matplotlib, in a venv of its own

Every panel's expression is asked of Prometheus over SECONDS that ended AGO seconds ago, and drawn
where the dashboard puts the panel. What is written (``on-call.png``, ``usage.png``) says on itself
what it is.
"""

import io
import json
import math
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image

HERE = Path(__file__).parent
CAPTION = "Drawn from Prometheus data by grafana/picture.py; not a Grafana screenshot."
WIDTH, UNIT, DPI = 15.0, 0.30, 72
"""Inches across, inches per grid row, dots per inch."""
COLORS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#b877d9", "#f2495c", "#8ab8ff", "#96d98d")
PAPER, INK, DIM, FRAME = "#111217", "#d8d9da", "#8e8e8e", "#2c3235"
UNITS = {"s": "s", "percentunit": "%", "reqps": "/s", "ops": "/s", "currencyUSD": "$", "bytes": "B"}


class Source:
    """A Prometheus, asked over ``seconds`` that ended ``ago``."""

    def __init__(self, address: str, seconds: float, ago: float) -> None:
        self._address = address
        self.end = time.time() - ago
        self.start = self.end - seconds

    def _get(self, path: str, **parameters: Any) -> list[Any]:
        text = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._address}/api/v1/{path}?{text}", timeout=30) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
            return found

    def _filled(self, expr: str) -> str:
        values = {
            "$__rate_interval": "20s", "$__range": f"{int(self.end - self.start)}s",
            "$job": ".*", "$instance": ".*",
        }  # fmt: skip
        for name, value in values.items():
            expr = expr.replace(name, value)
        return expr

    def lines(self, expr: str) -> list[Any]:
        step = max(1, (self.end - self.start) / 150)
        query = self._filled(expr)
        return self._get("query_range", query=query, start=self.start, end=self.end, step=step)

    def now(self, expr: str) -> list[Any]:
        return self._get("query", query=self._filled(expr), time=self.end)


def legend(target: dict[str, Any], labels: dict[str, str]) -> str:
    text = str(target["legendFormat"])
    for name, value in labels.items():
        short = value.split(".")[-1].removesuffix(":0") if name == "model" else value
        text = text.replace("{{" + name + "}}", short)
    return "" if text == "__auto" else text.replace("{{worker}}", "").strip()[:34]


def worded(value: float, unit: str) -> str:
    if math.isnan(value):
        return "no data"
    if math.isinf(value):
        return "never end" if unit == "s" else "∞"
    if unit == "percentunit":
        return f"{value * 100:.1f} %"
    if unit == "bytes":
        return f"{value / 1e6:.0f} MB"
    if unit == "currencyUSD":
        return f"${value:.2f}"
    if unit == "s" and value < 1:
        return f"{value * 1000:.0f} ms"
    number = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    return f"{number} {UNITS.get(unit, '')}".strip()


def axis_word(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 1e6:g}MB"
    return f"{value:g}{UNITS.get(unit, '')}"


def draw_lines(axes: Any, panel: dict[str, Any], source: Source) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    scale = 100 if unit == "percentunit" else 1
    drawn: list[tuple[str, list[float], list[float]]] = []
    for target in panel["targets"]:
        for one in source.lines(target["expr"]):
            times = [(at - source.start) / 60 for at, _ in one["values"]]
            values = [float(value) * scale for _, value in one["values"]]
            drawn.append((legend(target, one["metric"]), times, values))
    below: dict[float, float] = {}
    for (label, times, values), color in zip(drawn, COLORS * 9, strict=False):
        if stacked:
            base = [below.get(at, 0.0) for at in times]
            top = [b + (0 if v != v else v) for b, v in zip(base, values, strict=True)]
            axes.fill_between(times, base, top, color=color, alpha=0.45, linewidth=0)
            below.update(zip(times, top, strict=True))
            values = top
        axes.plot(times, values, color=color, linewidth=1.0, label=label)
    axes.set_xlim(0, (source.end - source.start) / 60)
    axes.set_ylim(bottom=0)
    axes.tick_params(colors=DIM, labelsize=6, length=2)
    axes.yaxis.set_major_formatter(lambda value, _: axis_word(value, unit))
    axes.grid(color=FRAME, linewidth=0.5)
    if any(label for label, _, _ in drawn):
        axes.legend(
            loc="upper left", fontsize=5.5, frameon=False, labelcolor=INK, ncols=2, handlelength=1
        )


def draw_bars(axes: Any, panel: dict[str, Any], source: Source) -> None:
    [target] = panel["targets"]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    found = sorted(source.now(target["expr"]), key=lambda one: float(one["value"][1]))[-6:]
    names = [legend(target, one["metric"]) for one in found]
    values = [float(one["value"][1]) for one in found]
    axes.barh(names, values, color=COLORS[0], height=0.6)
    for place, value in enumerate(values):
        axes.text(value, place, f" {worded(value, unit)}", color=INK, fontsize=7, va="center")
    axes.set_xlim(0, max([*values, 1e-9]) * 1.3)
    axes.set_ylim(-0.6, max(len(found), 4) - 0.4)
    axes.tick_params(colors=INK, labelsize=6, length=0)
    axes.set_xticks([])


def draw_number(axes: Any, panel: dict[str, Any], source: Source) -> None:
    [target] = panel["targets"]
    defaults = panel["fieldConfig"]["defaults"]
    value = float(source.now(target["expr"])[0]["value"][1])
    color = "green"
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    shown = {"green": COLORS[0], "orange": COLORS[3], "red": COLORS[5]}[color]
    text = worded(value, defaults["unit"])
    axes.text(0.5, 0.45, text, color=shown, fontsize=15, ha="center", va="center",
              transform=axes.transAxes)  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])


DRAW = {"timeseries": draw_lines, "bargauge": draw_bars, "stat": draw_number}


def draw(board: dict[str, Any], source: Source) -> bytes:
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in board["panels"]) + 2
    height = rows * UNIT
    figure = plt.figure(figsize=(WIDTH, height), facecolor=PAPER, dpi=DPI)
    figure.text(0.012, 1 - 0.9 / rows, board["title"], color=INK, fontsize=13, va="center")
    figure.text(0.988, 1 - 0.9 / rows, CAPTION, color=DIM, fontsize=8, va="center", ha="right")
    for panel in board["panels"]:
        place = panel["gridPos"]
        left, top = place["x"] / 24, 1 - (place["y"] + 1.6) / rows
        if panel["type"] == "row":
            figure.text(0.012, top - 0.5 / rows, panel["title"], color=INK, fontsize=9, va="center")
            continue
        wide, high = place["w"] / 24, place["h"] / rows
        inset = 0.062 if panel["type"] == "bargauge" else 0.03
        axes = figure.add_axes(
            (left + inset, top - high + 1.0 / rows, wide - inset - 0.012, high - 2.0 / rows),
            facecolor="#181b1f",
        )
        axes.set_title(panel["title"], color=INK, fontsize=7.5, loc="left", pad=3)
        for spine in axes.spines.values():
            spine.set_color(FRAME)
        DRAW[panel["type"]](axes, panel, source)
    raw = io.BytesIO()
    figure.savefig(raw, facecolor=PAPER)
    plt.close(figure)
    small = io.BytesIO()
    Image.open(raw).convert("RGB").quantize(96).save(small, "png", optimize=True)
    return small.getvalue()


def main() -> None:
    address, seconds, ago, *_ = [*sys.argv[1:], *("", "300", "0")[len(sys.argv) - 1 :]]
    source = Source(address.rstrip("/"), float(seconds), float(ago))
    for path in sorted(HERE.glob("dashboards/*.json")):
        picture = draw(json.loads(path.read_text(encoding="utf-8")), source)
        (HERE / f"{path.stem}.png").write_bytes(picture)


if __name__ == "__main__":
    main()
