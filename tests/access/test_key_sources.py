"""Keys kept in AWS: what is asked for and how the answers read; against botocore's own models."""

import botocore.session
import orjson
import pytest
from botocore.stub import Stubber

from proxy.access.key_sources import SecretPlace, secret_call, secret_place, secret_text
from proxy.access.keyfile import KeysError

SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:proxy/keys-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-west-1:123456789012:parameter/proxy/keys"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (SECRET, SecretPlace("secretsmanager", "eu-west-1", SECRET)),
        (PARAMETER, SecretPlace("ssm", "eu-west-1", PARAMETER)),
        ("secretsmanager:proxy/keys", SecretPlace("secretsmanager", None, "proxy/keys")),
        ("ssm:/proxy/keys", SecretPlace("ssm", None, "/proxy/keys")),
        ("keys.toml", None),
        ("/etc/proxy/keys.toml", None),
    ],
)
def test_a_setting_names_a_place_or_a_path(text: str, place: SecretPlace | None) -> None:
    assert secret_place(text) == place


@pytest.mark.parametrize(
    "text", ["arn:aws:s3:::bucket/keys.toml", "ssm:", "secretsmanager:a b", SECRET + "\n"]
)
def test_a_broken_place_is_no_path(text: str) -> None:
    with pytest.raises(KeysError, match="does not name a secret"):
        secret_place(text)


@pytest.mark.parametrize(
    ("service", "operation", "place"),
    [
        ("secretsmanager", "GetSecretValue", SecretPlace("secretsmanager", None, "a")),
        ("ssm", "GetParameter", SecretPlace("ssm", None, "a")),
    ],
)
def test_calls_are_what_botocore_would_send(
    service: str, operation: str, place: SecretPlace
) -> None:
    session = botocore.session.Session()
    model = session.get_service_model(service)
    call = secret_call(place)
    version = model.metadata["jsonVersion"]
    assert call.service == model.signing_name == service
    assert call.headers == {
        "content-type": f"application/x-amz-json-{version}",
        "x-amz-target": f"{model.metadata['targetPrefix']}.{operation}",
    }
    client = session.create_client(
        service, "us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with Stubber(client) as stub:  # validates the parameters against the service model
        method = {"ssm": "get_parameter", "secretsmanager": "get_secret_value"}[service]
        stub.add_response(method, {}, orjson.loads(call.body))
        getattr(client, method)(**orjson.loads(call.body))


def test_answers_are_read() -> None:
    body = b'{"ARN":"x","Name":"a","SecretString":"[keys.a]"}'
    assert secret_text(SecretPlace("secretsmanager", None, "a"), 200, body) == "[keys.a]"
    body = b'{"Parameter":{"Name":"a","Type":"SecureString","Value":"[keys.b]"}}'
    assert secret_text(SecretPlace("ssm", None, "a"), 200, body) == "[keys.b]"


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (400, b'{"__type":"com.amazonaws#ResourceNotFoundException","Message":"s3cret"}',
         "ssm answered 400 ResourceNotFoundException"),
        (400, b'{"__type":"ParameterNotFound:http://x/"}', "ssm answered 400 ParameterNotFound"),
        (500, b"<html>", "ssm answered 500 with a body that is not JSON"),
        (200, b"[]", "ssm answered 200 with a body that is not JSON"),
        (200, b'{"Parameter":{"Value":7}}', "ssm: the secret contains no text"),
        (200, b'{"Parameter":[]}', "ssm: the secret contains no text"),
    ],
)  # fmt: skip
def test_refusals_show_a_name_and_no_more(status: int, body: bytes, told: str) -> None:
    with pytest.raises(KeysError) as caught:
        secret_text(SecretPlace("ssm", None, "a"), status, body)
    assert str(caught.value) == told
