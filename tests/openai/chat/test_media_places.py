"""Which part is named when Bedrock only says what kind of media a model does not take."""

import orjson
import pytest

from proxy.openai.chat.media_places import locate
from proxy.openai.chat.request import parse_request

TEXT = {"type": "text", "text": "Hi"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
FILE = {"type": "file", "file": {"file_data": "AA==", "filename": "a.pdf"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
VIDEO = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AA=="}}


@pytest.mark.parametrize(
    ("content", "kind", "path"),
    [
        ([TEXT, PICTURE], "image", "messages[1].content[1].type"),
        ([FILE, PICTURE], "image", "messages[1].content[1].type"),
        (["Hi", FILE], "image", "messages[1].content[1].type"),
        ([PICTURE, FILE], "document", "messages[1].content[1].type"),
        ([TEXT, PICTURE], "document", "messages[1].content[1].type"),
        ([TEXT, SOUND], "audio", "messages[1].content[1].type"),
        ([VIDEO], "video", "messages[1].content[0].type"),
        (PICTURE, "image", "messages[1].content.type"),
        ([TEXT, PICTURE], "audio", None),
        ([TEXT, PICTURE], "searchResult", None),
        ("Hi", "image", None),
    ],
)
def test_the_first_part_of_a_kind_is_named(content: object, kind: str, path: str | None) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    body = orjson.dumps({"model": "m", "messages": messages})
    assert locate(parse_request(body, {}), kind) == path
