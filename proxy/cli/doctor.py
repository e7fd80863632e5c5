"""``doctor``: everything that must be right between this machine and Bedrock, one line each.

Exit code 0: all is well; 1: warnings; 2: something will fail. ``--json`` prints the same for
programs, with the policy. It serves nothing and changes nothing; the model calls it makes are two
short ones (``--no-calls`` leaves them out).
"""

import asyncio
import socket
import sys
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click
import httpx
import orjson

from proxy import __version__
from proxy.app import Service, build
from proxy.bedrock.chain import open_session
from proxy.bedrock.regions import AwsConfig, endpoint, read_config
from proxy.cli.checkup import Checkup, Finding, credentials_finding
from proxy.cli.options import setting_options, stop
from proxy.cli.serve import refuse_open_door
from proxy.cli.sockets import place, takes_both
from proxy.parts import runtime_region
from proxy.settings import Loaded, SettingsError, load

_SIGNS: Final = MappingProxyType({"ok": "ok  ", "skip": "--  ", "warn": "warn", "fail": "FAIL"})
_CLASH: Final = "proxy.py"
_SETTLE: Final = 15.0


@click.command()
@setting_options()
@click.option("--model", "models", multiple=True, help="call this model (may be repeated)")
@click.option("--call-all", is_flag=True, help="call every listed model (may subscribe to it)")
@click.option("--no-calls", is_flag=True, help="check only this machine, without calls to AWS")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def command(
    config: Path | None,
    models: tuple[str, ...],
    call_all: bool,
    no_calls: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Find out what keeps the proxy from working, and how to fix it."""
    findings = [_package()]
    policy: dict[str, Any] | None = None
    access: dict[str, str] = {}
    try:
        loaded = load({name: value for name, value in flags.items() if value is not None}, config)
        findings.append(Finding("settings", "ok", _origin(config, loaded)))
        findings += _door(loaded)
        aws, found = _aws(loaded)
        findings += found
        if aws is not None and not no_calls:
            service = build(loaded, aws)
            checkup = Checkup(service, models, call_all)
            asyncio.run(_ask(service, loaded, checkup))
            findings += checkup.findings
            policy, access = checkup.policy(), checkup.access
    except SettingsError as fault:
        findings.append(Finding("settings", "fail", str(fault), "correct or remove it"))
    _print_json(findings, policy, access) if as_json else _print(findings, policy)
    sys.exit(_code(findings))


async def _ask(service: Service, loaded: Loaded, checkup: Checkup) -> None:
    account = service.account
    try:
        if account.clients_pay:
            state = account.state()
            checkup.findings.append(Finding("credentials", "ok", state.detail))
            return
        _, profile = open_session(loaded.environment, loaded.settings.profile)
        state = await account.own.settled(_SETTLE)
        missing = profile.missing if state.mode != "bearer" else None
        checkup.findings.append(credentials_finding(state, missing))
        for other in account.identities[1:]:
            told = credentials_finding(await other.settled(_SETTLE), None)
            checkup.findings.append(
                Finding(f"credentials {other.name}", told.status, told.detail, told.fix)
            )
        if state.ok:
            await checkup.run()
    finally:
        await account.close()


def _package() -> Finding:
    """Another distribution of the same import name breaks either of them."""
    try:
        metadata.distribution(_CLASH)
    except metadata.PackageNotFoundError:
        return Finding("package", "ok", f"bedrock-openai-proxy {__version__}")
    return Finding(
        "package", "fail", f"the package {_CLASH} is installed too; both are imported as proxy",
        f"pip uninstall {_CLASH}, or install this proxy in its own environment",
    )  # fmt: skip


def _origin(config: Path | None, loaded: Loaded) -> str:
    changed = sum(origin != "default" for origin in loaded.origins.values())
    return f"{changed} set" + (f", {config}" if config else "")


def _door(loaded: Loaded) -> list[Finding]:
    """Who may connect, and where."""
    settings = loaded.settings
    findings = []
    try:
        refuse_open_door(settings)
    except stop as fault:
        text = fault.message.replace("\n\n", " ").strip().split("  export")[0]
        findings.append(
            Finding("door", "fail", text, "export BEDROCK_PROXY_API_KEY=$(openssl rand -hex 32)")
        )
    else:
        key = "a key is needed" if settings.api_key or settings.client_keys else "no key is needed"
        findings.append(Finding("door", "ok", f"{settings.host}: {key}"))
    findings.append(_port(settings.host, settings.port))
    return findings


def _port(host: str, port: int) -> Finding:
    where = place(host, port)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family, dualstack_ipv6=takes_both(host)):
            return Finding("port", "ok", f"{where} is free")
    except OSError as fault:
        if _is_ours(host, port):
            return Finding("port", "ok", f"a proxy is running on {where}")
        fix = "stop the program that listens there, or choose another --port"
        return Finding("port", "fail", f"{where}: {fault.strerror or fault}", fix)


def _is_ours(host: str, port: int) -> bool:
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        answer = httpx.get(f"http://{place(reached, port)}/readyz", timeout=2, trust_env=False)
    except (httpx.TransportError, httpx.InvalidURL):
        return False
    return b'"credentials"' in answer.content


def _aws(loaded: Loaded) -> tuple[AwsConfig | None, list[Finding]]:
    """What AWS's own files and variables say; no call is made."""
    settings, environment = loaded.settings, loaded.environment
    try:
        aws = read_config(environment, settings.profile)
        region, origin = runtime_region(settings, environment, aws)
        base = settings.runtime_endpoint or aws.endpoints.get("bedrock-runtime")
        base = base or endpoint("bedrock-runtime", region, aws.fips, aws.dualstack)
    except ValueError as fault:
        return None, [Finding("aws config", "fail", str(fault), "correct it")]
    status, fix = ("ok", "") if origin != "default" else ("warn", "export AWS_REGION=…")
    found = [
        Finding("region", "ok" if status == "ok" else "warn", f"{region} ({origin})", fix),
        Finding("endpoint", "ok", base),
    ]
    return aws, found


def _code(findings: list[Finding]) -> int:
    statuses = {one.status for one in findings}
    return 2 if "fail" in statuses else 1 if "warn" in statuses else 0


def _print(findings: list[Finding], policy: dict[str, Any] | None) -> None:
    width = max(len(one.name) for one in findings)
    for one in findings:
        fix = f"  -> {one.fix}" if one.fix else ""
        click.echo(f"{_SIGNS[one.status]}  {one.name:<{width}}  {_line(one.detail)}{fix}")
    if policy is not None:
        click.echo(
            "\nThe minimal policy for this configuration (or attach AmazonBedrockFullAccess):\n"
        )
        click.echo(orjson.dumps(policy, option=orjson.OPT_INDENT_2).decode())


def _line(text: str) -> str:
    return " ".join(text.split())


def _print_json(
    findings: list[Finding], policy: dict[str, Any] | None, access: dict[str, str]
) -> None:
    told = {
        "ok": _code(findings) == 0,
        "version": __version__,
        "checks": [
            {"name": one.name, "status": one.status, "detail": one.detail, "fix": one.fix}
            for one in findings
        ],
        "models": access,
        "policy": policy,
    }
    click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
