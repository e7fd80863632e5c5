"""Reads one secret from Secrets Manager or the parameter store, once at start-up.

It uses botocore's own client, which knows endpoints, partitions and the whole credential chain, and
blocks for one call, before anything is served. The caller interprets the secret.
Source: AWS Secrets Manager *GetSecretValue*; AWS Systems Manager *GetParameter*.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from proxy.bedrock.chain import open_session

_CONNECT: Final = 5
_READ: Final = 10


class SecretUnreadable(Exception):
    """The message says what AWS said, and nothing of the secret."""


def read_secret(
    service: Literal["secretsmanager", "ssm"],
    name: str,
    region: str,
    environment: Mapping[str, str],
    profile: str | None = None,
) -> str:
    """The text of a secret (its name or ARN) or of a parameter. Blocks.

    Raises ``SecretUnreadable``.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    patience = Config(
        connect_timeout=_CONNECT, read_timeout=_READ, retries={"total_max_attempts": 3}
    )
    try:
        session, _ = open_session(environment, profile)
        client: Any = session.create_client(service, region_name=region, config=patience)
        if service == "ssm":
            answer = client.get_parameter(Name=name, WithDecryption=True)
            text = answer.get("Parameter", {}).get("Value")
        else:
            text = client.get_secret_value(SecretId=name).get("SecretString")
    except (BotoCoreError, ClientError) as failure:
        raise SecretUnreadable(f"{service} in {region}: {failure}") from None
    if not isinstance(text, str):
        raise SecretUnreadable(f"{service} in {region}: it holds no text")
    return text
