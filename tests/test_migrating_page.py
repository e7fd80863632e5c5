"""The page for those who move over: its table of variables is the one that the code reads."""

import re
from pathlib import Path

from proxy.likeness import BEDROCK_ACCESS_GATEWAY, LIKENESSES
from proxy.settings import FIELDS

PAGE = (Path(__file__).parents[1] / "deploy" / "migrating.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([A-Z_]+)(?:=\w+)?` \| `([a-z_]+)", PAGE, re.MULTILINE))


def test_each_variable_and_its_setting_stand_in_the_table() -> None:
    read = {r.variable: r.setting for r in LIKENESSES[BEDROCK_ACCESS_GATEWAY] if r.variable}
    assert read == ROWS
    assert set(ROWS.values()) <= set(FIELDS)


def test_each_default_that_stands_in_is_told() -> None:
    _, told = PAGE.split("The gateway's defaults that differ", 1)
    told = told.split("\n\n", 1)[0]
    words = {"cors_origins": "any web origin", "reasoning_as": "<think>"}
    for row in LIKENESSES[BEDROCK_ACCESS_GATEWAY]:
        if row.default is not None:
            assert words.get(row.setting, row.default) in told, row.setting


def test_the_command_is_one_that_exists() -> None:
    assert f"serve --like {BEDROCK_ACCESS_GATEWAY}" in PAGE
    assert f"BEDROCK_PROXY_LIKE={BEDROCK_ACCESS_GATEWAY}" in PAGE
