"""``demo``: the proxy on the embedded simulator. No AWS account, no network but loopback.

The simulator is a real HTTP server that checks signatures and speaks the binary event stream, so
what runs here is the whole path. Its answers are invented, and say so in a header.
"""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from proxy.bedrock.regions import AwsConfig
from proxy.cli.options import read_settings, setting_options
from proxy.cli.run import run
from proxy.cli.serve import refuse_open_door
from proxy.settings import Loaded
from proxy.simulator import Simulator

MODEL: Final = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
_SNIPPETS: Final = """
  The simulator answers in place of Bedrock: nothing here is a real model.
  Proxy: {url}    Stop: Ctrl-C

  curl:
    curl -N {url}/v1/chat/completions{auth} -H 'content-type: application/json' -d '{{
      "model": "{model}", "stream": true,
      "messages": [{{"role": "user", "content": "Say hello in five words."}}]}}'

  Python (pip install openai):
    from openai import OpenAI
    client = OpenAI(base_url="{url}/v1", api_key="{key}")
    for chunk in client.chat.completions.create(
        model="{model}", stream=True,
        messages=[{{"role": "user", "content": "Say hello in five words."}}]):
        print(chunk.choices[0].delta.content or "", end="", flush=True)
"""


@click.command()
@setting_options("workers", "region")
@click.option("--pace", default=0.03, show_default=True, help="seconds between the tokens")
def command(config: Path | None, pace: float, **flags: Any) -> None:
    """Run the proxy on an embedded simulator, to try it without AWS."""
    loaded = read_settings(config, flags)
    refuse_open_door(loaded.settings)
    key = loaded.settings.api_key

    def announce(url: str) -> None:
        auth = ' -H "authorization: Bearer $BEDROCK_PROXY_API_KEY"' if key else ""
        shown = "<your BEDROCK_PROXY_API_KEY>" if key else "unused"
        click.echo(_SNIPPETS.format(url=url, auth=auth, key=shown, model=MODEL))

    # The keys are the simulator's: a line about AWS_ACCESS_KEY_ID would be read as the user's.
    logging.getLogger("proxy.bedrock.credentials").setLevel(logging.WARNING)
    with Simulator(pace=pace) as simulator:
        here, aws = pretended(simulator, loaded)
        run(here, aws, mode="simulator", announce=announce)


def pretended(simulator: Simulator, loaded: Loaded) -> tuple[Loaded, AwsConfig]:
    """An AWS configuration for the simulator, without the user's AWS environment."""
    aws = AwsConfig(
        region=simulator.region,
        fips=False,
        dualstack=False,
        endpoints={"bedrock-runtime": simulator.url, "bedrock": simulator.url},
    )
    environment = {
        "AWS_ACCESS_KEY_ID": simulator.access_key,
        "AWS_SECRET_ACCESS_KEY": simulator.secret_key,
        "AWS_REGION": simulator.region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    settings = replace(
        loaded.settings,
        region=None, profile=None, role_arn=None, runtime_endpoint=None, control_endpoint=None,
        client_keys=False, targets=(), discovery_region=(), geographies=(),
    )  # fmt: skip
    return Loaded(settings, loaded.origins, environment), aws
