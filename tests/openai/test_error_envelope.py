"""OpenAI's error envelope: four keys, always."""

import orjson
import pytest

from proxy.errors import ProxyError, invalid
from proxy.openai.errors import error_body, error_event


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            invalid("No.", "messages[2].content[0].type"),
            {
                "message": "No.",
                "type": "invalid_request_error",
                "param": "messages[2].content[0].type",
                "code": "invalid_value",
            },
        ),
        (
            ProxyError(500, "line\nbreak \u2028 \ud800", reason="secret", upstream_id="u"),
            {
                "message": "line\nbreak \u2028 ?",
                "type": "server_error",
                "param": None,
                "code": None,
            },
        ),
    ],
)
def test_all_four_keys_and_nothing_else(error: ProxyError, expected: dict[str, str]) -> None:
    assert orjson.loads(error_body(error)) == {"error": expected}


def test_the_event_is_one_line_and_its_end() -> None:
    event = error_event(ProxyError(502, "a\r\nb\n\nc"))
    assert event.startswith(b'data: {"error":{')
    assert len(event.splitlines()) == 2
    assert event.endswith(b"}\n\n")
