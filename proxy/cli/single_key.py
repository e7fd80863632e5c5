"""The one API key, where it lies in AWS instead of in a variable: read once, at start-up.

The secret is the key itself, or a JSON object with the member ``api_key`` (as the archived AWS
gateway wanted it). A key that cannot be read is a reason not to start: serving without one would
open the door.
"""

import sys
from dataclasses import replace
from typing import Final

import click
import orjson

from proxy.access.key_sources import secret_place
from proxy.access.keyfile import KeysError
from proxy.bedrock.regions import AwsConfig
from proxy.bedrock.secrets import SecretUnreadable, read_secret
from proxy.cli.options import stop
from proxy.parts import runtime_region
from proxy.settings import Loaded

MEMBER: Final = "api_key"


def with_key(loaded: Loaded, aws: AwsConfig) -> Loaded:
    """``loaded`` with the key that ``api_key_secret`` names, if it names one; or an exit."""
    settings = loaded.settings
    if settings.api_key_secret is None:
        return loaded
    where = loaded.origins["api_key_secret"]
    try:
        place = secret_place(settings.api_key_secret)
    except KeysError as fault:
        raise stop(f"{where}: {fault}") from None
    if place is None:
        raise stop(f"{where}: must be a secret's ARN, secretsmanager:NAME or ssm:NAME")
    region = place.region or runtime_region(settings, loaded.environment, aws)[0]
    if sys.stderr.isatty():
        click.echo(f"reading the API key from {place.service} …", err=True)
    try:
        text = read_secret(place.service, place.id, region, loaded.environment, settings.profile)
    except SecretUnreadable as failure:
        raise stop(f"{where}: the API key cannot be read: {failure}") from None
    key = _key_in(text)
    if not key:
        raise stop(f"{where}: the secret must be the key itself, or a JSON object with {MEMBER!r}")
    return replace(loaded, settings=replace(settings, api_key=key))


def _key_in(text: str) -> str:
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text.strip()
    if not isinstance(parsed, dict):
        return text.strip()
    key = parsed.get(MEMBER)
    return key.strip() if isinstance(key, str) else ""
