"""The short way past the checks of a message is for what the checks would let through."""

from itertools import product
from typing import Any

import pytest

from proxy.errors import ProxyError
from proxy.openai.chat.request_messages import ROLES, _check_message, _is_plain, check_messages

ROLE = (*sorted(ROLES), "", " ", "User", None, 5, ["user"], {"a": 1})
CONTENT = ("", "text", None, 5, [], ["text"], [{"type": "text", "text": "a"}], {"type": "text"})
MORE: tuple[dict[str, Any], ...] = (
    {}, {"name": 5}, {"name": "n"}, {"tool_calls": 5}, {"refusal": 5}, {"x": 1},
)  # fmt: skip


def fault(message: Any) -> str | None:
    try:
        _check_message(message, "messages[0]")
    except ProxyError as error:
        return error.message
    return None


@pytest.mark.parametrize("role", ROLE, ids=str)
def test_the_short_way_is_for_what_is_sound(role: Any) -> None:
    for content, more in product(CONTENT, MORE):
        message = {"role": role, "content": content, **more}
        if _is_plain(message):
            assert fault(message) is None
        elif fault(message) is not None:
            with pytest.raises(ProxyError) as refusal:
                check_messages({"messages": [message]})
            assert refusal.value.message == fault(message)


def test_most_messages_take_it() -> None:
    for role in ("system", "developer", "user", "assistant"):
        assert _is_plain({"role": role, "content": "text"})
        assert _is_plain({"content": "text", "role": role})
    for other in (None, "text", [], {}, {"role": "user"}, {"role": "tool", "content": "text"}):
        assert not _is_plain(other)
