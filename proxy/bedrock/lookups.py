"""Finds the model behind an ARN that does not name it, by the control plane's Get calls.

A row says which call to make and where the response names the model. A custom model's deployment
names the custom model, which in turn names its base model: two calls. Source: Amazon Bedrock API
reference, *GetInferenceProfile* (recorded: ``captures``, fact 45) and the related Get calls.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from proxy.bedrock.paths import segment
from proxy.catalog.entries import Learned
from proxy.catalog.families import foundation_of
from proxy.catalog.names import foundation_in, parse_arn

Get = Callable[[str, str], Awaitable[Mapping[str, Any]]]
"""Region and encoded path to the answer's JSON object."""


class _Row(NamedTuple):
    path: str
    members: str = ""
    """A list whose elements have a ``modelArn``."""
    arns: tuple[str, ...] = ()
    """Keys that hold an ARN of the model, the first present one counts."""


_ROUTER: Final = _Row("/prompt-routers/", members="models")
_ROWS: Final[Mapping[str, _Row]] = MappingProxyType(
    {
        "application-inference-profile": _Row("/inference-profiles/", members="models"),
        "provisioned-model": _Row(
            "/provisioned-model-throughput/", arns=("foundationModelArn", "modelArn")
        ),
        "custom-model-deployment": _Row(
            "/model-customization/custom-model-deployments/", arns=("modelArn",)
        ),
        "custom-model": _Row("/custom-models/", arns=("baseModelArn",)),
        "imported-model": _Row("/imported-models/"),
        "prompt-router": _ROUTER,
        "default-prompt-router": _ROUTER,
    }
)


async def learn(arn: str, get: Get, depth: int = 2) -> Learned | None:
    """The model behind ``arn``; ``None`` if the answer does not tell. Raises what ``get`` does."""
    parsed = parse_arn(arn)
    row = _ROWS.get(parsed.kind) if parsed is not None else None
    if parsed is None or row is None or depth == 0:
        return None
    answer = await get(parsed.region, row.path + segment(arn))
    architecture = answer.get("modelArchitecture")
    if isinstance(architecture, str):
        return Learned("", architecture)
    if row.members:
        return _from_members(answer.get(row.members))
    named = next((answer[key] for key in row.arns if isinstance(answer.get(key), str)), "")
    if (foundation := _foundation(named)) != "":
        return Learned(foundation)
    return await learn(named, get, depth - 1)


def _from_members(members: object) -> Learned | None:
    arns = [
        member["modelArn"]
        for member in (members if isinstance(members, list) else ())
        if isinstance(member, dict) and isinstance(member.get("modelArn"), str)
    ]
    foundation, anywhere = foundation_in(arns)
    foundation = foundation or next(filter(None, map(foundation_of, arns)), "")
    return Learned(foundation, geography="global" if anywhere else "") if foundation else None


def _foundation(arn: str) -> str:
    """The foundation model an ARN names by itself; a custom model's name only resembles one."""
    parsed = parse_arn(arn)
    if parsed is None or parsed.kind == "custom-model":
        return ""
    return foundation_of(arn)
