"""Panels and their places: a dashboard is a list of rows, a row a list of panels, 24 columns wide.

A panel's unit and its description come from the metric definitions where it does not say otherwise,
so that neither can drift from what is measured. Ids and places are counted, never written down.
Source: Grafana's dashboard JSON model (classic schema, version 39).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy.metrics.table import DEFINITIONS, PREFIX, Definition

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SELECTOR = 'job=~"$job", instance=~"$instance"'
COLUMNS = 24
TAG = "bedrock-proxy"

_UNITS = {"seconds": "s", "usd": "currencyUSD", "tokens": "short"}
_NAME = re.compile(rf"\b{PREFIX}[a-z_]+")


@dataclass(frozen=True)
class Query:
    """``expr`` in PromQL; ``@`` stands for the dashboard's selector."""

    expr: str
    legend: str = ""

    @property
    def full(self) -> str:
        return self.expr.replace("@", SELECTOR)


@dataclass(frozen=True)
class Panel:
    title: str
    queries: Sequence[Query]
    unit: str = ""
    kind: str = "timeseries"
    about: str = ""
    width: int = 8
    stacked: bool = False
    thresholds: Sequence[tuple[float | None, str]] = ((None, "green"),)
    limits: tuple[float | None, float | None] = (0, None)


def definitions_in(expr: str) -> list[Definition]:
    """The metrics that an expression names, in the order of the table."""
    names = set(_NAME.findall(expr))
    endings = ("", "_bucket", "_sum", "_count")
    return [d for d in DEFINITIONS if any(d.exported + end in names for end in endings)]


def quantiles(name: str, by: str = "", where: str = "") -> tuple[Query, ...]:
    """p50, p95 and p99 of a histogram."""
    labels = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    where = f", {where}" if where else ""
    return tuple(
        Query(
            f"histogram_quantile({q}, sum by ({labels}) "
            f"(rate({PREFIX}{name}_bucket{{@{where}}}[$__rate_interval])))",
            f"p{int(q * 100)}{legend}",
        )
        for q in (0.5, 0.95, 0.99)
    )


def rates(name: str, by: str, where: str = "") -> tuple[Query, ...]:
    """A counter's rate per second, by one label."""
    where = f", {where}" if where else ""
    expr = f"sum by ({by}) (rate({PREFIX}{name}{{@{where}}}[$__rate_interval]))"
    return (Query(expr, " ".join(f"{{{{{one.strip()}}}}}" for one in by.split(","))),)


def _unit(panel: Panel) -> str:
    if panel.unit:
        return panel.unit
    [first, *_] = definitions_in(panel.queries[0].expr)
    return _UNITS.get(first.unit, "short")


def _about(panel: Panel) -> str:
    if panel.about:
        return panel.about
    named = {d.name: d.help for query in panel.queries for d in definitions_in(query.expr)}
    return "\n\n".join(named.values())


def _target(panel: Panel, query: Query, letter: str) -> dict[str, Any]:
    target: dict[str, Any] = {
        "refId": letter,
        "datasource": DATASOURCE,
        "expr": query.full,
        "legendFormat": query.legend or "__auto",
    }
    if panel.kind in {"stat", "bargauge"}:
        target |= {"instant": True, "range": False}
    return target


def _custom(panel: Panel) -> dict[str, Any]:
    return {
        "lineWidth": 1,
        "fillOpacity": 30 if panel.stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
    }


def render_panel(panel: Panel, number: int, x: int, y: int, height: int) -> dict[str, Any]:
    steps = [{"value": value, "color": color} for value, color in panel.thresholds]
    defaults: dict[str, Any] = {
        "unit": _unit(panel),
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    low, high = panel.limits
    defaults |= {} if low is None else {"min": low}
    defaults |= {} if high is None else {"max": high}
    if panel.kind == "timeseries":
        defaults["custom"] = _custom(panel)
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": _about(panel),
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
        "targets": [_target(panel, q, chr(ord("A") + at)) for at, q in enumerate(panel.queries)],
    }


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    reduce = {"values": False, "calcs": ["lastNotNull"], "fields": ""}
    if panel.kind == "bargauge":
        return {"reduceOptions": reduce, "orientation": "horizontal", "displayMode": "basic"}
    return {"reduceOptions": reduce, "colorMode": "value", "graphMode": "none"}


def lay_out(rows: Sequence[tuple[str, Sequence[Panel]]]) -> list[dict[str, Any]]:
    """Panels with ids and places: left to right, a new line where the next does not fit."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
                "panels": [],
            }
        )
        y, x = y + 1, 0
        height = 4 if all(panel.kind == "stat" for panel in row) else 8
        for panel in row:
            if x + panel.width > COLUMNS:
                x, y = 0, y + height
            panels.append(render_panel(panel, len(panels) + 1, x, y, height))
            x += panel.width
        y += height
    return panels


def variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def dashboard(
    uid: str,
    title: str,
    about: str,
    other: tuple[str, str],
    rows: Sequence[tuple[str, Sequence[Panel]]],
) -> dict[str, Any]:
    """A whole dashboard; ``other`` is the (uid, title) of the one it links to."""
    info = f"{PREFIX}build_info"
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": [TAG],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "links": [
            {
                "title": other[1],
                "type": "link",
                "url": f"/d/{other[0]}",
                "icon": "dashboard",
                "tooltip": f"Open {other[1]}",
                "tags": [],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
            }
        ],
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                    "refresh": 1,
                },
                variable("job", "Job", f"label_values({info}, job)"),
                variable("instance", "Instance", f'label_values({info}{{job=~"$job"}}, instance)'),
            ]
        },
        "panels": lay_out(rows),
    }
