"""Write the dashboards and rules: ``python grafana/build.py``, in the project's environment.

They are made of ``contents.py`` and ``rules.py``, and of the metric definitions in
``proxy/metrics/table.py``. What is written is in version control, so that it can be used without
Python; a test compares it with what this gives.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cases import cases
from contents import on_call, usage
from rules import alerts, recording

HERE = Path(__file__).parent
_NOTE = "# Made by grafana/build.py of rules.py and cases.py: change those, not this file.\n"


def yaml(value: Any, indent: str = "") -> str:
    """Mappings, lists, text and numbers as YAML; what is no container as JSON, which YAML takes."""
    inner = indent + "  "
    if isinstance(value, Mapping):
        lines = [f"{indent}{key}:{_beside(one, inner)}" for key, one in value.items()]
        return "\n".join(lines)
    if isinstance(value, list):
        return "\n".join(f"{indent}- {yaml(one, inner).removeprefix(inner)}" for one in value)
    return indent + json.dumps(value, ensure_ascii=False)


def _beside(value: Any, indent: str) -> str:
    if isinstance(value, (Mapping, list)):
        return "\n" + yaml(value, indent)
    return " " + yaml(value)


def files() -> dict[str, str]:
    """Every generated file, by its path below ``grafana/``."""
    boards = {"on-call": on_call(), "usage": usage()}
    made = {
        f"dashboards/{name}.json": json.dumps(board, indent=1, ensure_ascii=False) + "\n"
        for name, board in boards.items()
    }
    made["prometheus/recording.yml"] = _NOTE + yaml(recording()) + "\n"
    made["prometheus/alerts.yml"] = _NOTE + yaml(alerts()) + "\n"
    made["prometheus/rules_test.yml"] = _NOTE + yaml(cases(alerts())) + "\n"
    return made


def main() -> None:
    for path, text in files().items():
        (HERE / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
