"""``serve``: the proxy in front of the real Bedrock. Strict about what it needs to start.

It never falls back to the simulator, never serves others without a key unless told to, and exits
with the fix when there is no source of AWS credentials at all. A source that is slow or failing is
no reason: then it starts, says so on ``/readyz``, and keeps trying.
"""

import socket
from pathlib import Path
from typing import Any

import click

from proxy.access.key_sources import check_file, secret_place
from proxy.access.keyfile import KeysError
from proxy.app import Service, remembering
from proxy.bedrock.regions import AwsConfig, endpoint, read_config
from proxy.bedrock.sources import Source, detect
from proxy.cli.options import read_settings, say, setting_options, stop
from proxy.cli.run import run
from proxy.cli.single_key import with_key
from proxy.cli.sockets import Inherited
from proxy.cli.workers import supervise
from proxy.defences import is_loopback, limits_told
from proxy.likeness import LIKENESS_VARIABLES
from proxy.parts import runtime_region
from proxy.settings import Loaded, Settings, SettingsError

NO_SOURCE = """\
No AWS credentials were found: no AWS_BEARER_TOKEN_BEDROCK, no AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, no profile (AWS_PROFILE, ~/.aws), no role of a container or an instance.

  export AWS_BEARER_TOKEN_BEDROCK=...        # a Bedrock API key, or
  aws configure                              # a profile

To try the proxy without an AWS account: bedrock-openai-proxy demo"""


@click.command()
@setting_options()
@click.option("--fd", type=int, hidden=True, help="listen on this inherited socket")
@click.option("--metrics-fd", type=int, hidden=True, help="and on this one for metrics")
@click.option("--line-fd", type=int, hidden=True, help="the line to the parent")
def command(
    config: Path | None,
    fd: int | None,
    metrics_fd: int | None,
    line_fd: int | None,
    **flags: Any,
) -> None:
    """Serve Amazon Bedrock as an OpenAI-compatible API."""
    loaded = read_settings(config, flags)
    if loaded.settings.api_key_secret is None:
        refuse_open_door(loaded.settings)
    aws, source = look_around(loaded)
    loaded = with_key(loaded, aws)
    settings = loaded.settings
    refuse_broken_keys(settings)
    inherited = _inherited(fd, metrics_fd, line_fd)
    if inherited is None:
        _tell_likeness(loaded)
    if settings.workers > 1 and inherited is None:
        refuse_forgetful(settings)
        if told := limits_told(settings):
            say(told)
        supervise(settings)
        return
    if inherited is None:
        region, origin = runtime_region(settings, loaded.environment, aws)
        say(f"region {region} (from {origin}); credentials: {source.detail}")
        if told := limits_told(settings):
            say(told)
    run(loaded, aws, source_is_certain=source.certain, inherited=inherited, on_absent=NO_SOURCE)


def _tell_likeness(loaded: Loaded) -> None:
    """Which of another gateway's variables were read, and which of its defaults stand in."""
    if loaded.settings.like is None:
        return
    default = f"like {loaded.settings.like}"
    taken = sorted(LIKENESS_VARIABLES.intersection(loaded.origins.values()))
    stand_in = sorted(name for name, origin in loaded.origins.items() if origin == default)
    say(
        f"{default}: read {', '.join(taken) or 'none of its variables'}; "
        f"its defaults for {', '.join(stand_in) or 'nothing'}"
    )


def _inherited(fd: int | None, metrics_fd: int | None, line_fd: int | None) -> Inherited | None:
    if fd is None or line_fd is None:
        return None
    metrics = None if metrics_fd is None else socket.socket(fileno=metrics_fd)
    return Inherited(socket.socket(fileno=fd), metrics, socket.socket(fileno=line_fd))


def look_around(loaded: Loaded) -> tuple[AwsConfig, Source]:
    """The AWS configuration and the first possible source of credentials, or an exit."""
    settings, environment = loaded.settings, loaded.environment
    try:
        aws = read_config(environment, settings.profile)
        endpoint("bedrock", runtime_region(settings, environment, aws)[0])
    except ValueError as fault:
        raise stop(str(fault)) from None
    if settings.client_keys and not settings.enabled:
        return aws, Source("client", "each client's own Bedrock API key")
    source = detect(environment, settings.profile)
    if source is None:
        raise stop(NO_SOURCE)
    return aws, source


async def settle(service: Service) -> None:
    """Wait for the first credentials; an exit where every source was asked and none has any."""
    credentials = service.account.credentials
    if credentials is None or service.account.clients_pay:
        return
    if (await credentials.settled(30.0)).absent:
        raise stop(NO_SOURCE)


def refuse_open_door(settings: Settings) -> None:
    """Serving without a key is allowed on loopback, and elsewhere only with ``--no-auth``."""
    guarded = settings.api_key is not None or settings.keys is not None or settings.client_keys
    if guarded or settings.no_auth or is_loopback(settings.host):
        return
    raise stop(
        f"{settings.host} can be reached from other machines, and no API key is set.\n\n"
        "  export BEDROCK_PROXY_API_KEY=$(openssl rand -hex 32)\n\n"
        "or use --no-auth if something in front of it authenticates clients."
    )


def refuse_forgetful(settings: Settings) -> None:
    """Before workers start: they would each end with the same message."""
    try:
        remembering(settings)
    except SettingsError as fault:
        raise stop(str(fault)) from None


def refuse_broken_keys(settings: Settings) -> None:
    """A keys file is read before anything starts; keys in AWS when it can be asked."""
    try:
        if settings.keys is not None and secret_place(settings.keys) is None:
            check_file(Path(settings.keys))
    except KeysError as fault:
        raise stop(
            f"{fault}\n\n  bedrock-openai-proxy keys create NAME  # makes the file"
        ) from None
