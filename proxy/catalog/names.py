"""Model names as text: what may be one, what route words to drop, what an ARN says. Pure.

A name from a client becomes one path segment of a signed request, so it is judged before anything
else: no dot segments, nothing that ends a path, no blanks or control characters, no ARN of another
service. What is well formed and unknown is still tried. Source: the pattern of Converse's
``modelId`` (botocore 1.44, bedrock-runtime 2023-09-30); gateways' route words from their published
documentation.
"""

import re
from typing import Final, NamedTuple

from proxy.errors import ProxyError

MAX_LENGTH: Final = 2048
"""Characters of a ``modelId``."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
_ARN: Final = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):(?P<service>bedrock|sagemaker):(?P<region>[a-z0-9-]{0,32})"
    r":(?P<account>\d{12}|):(?P<kind>[a-z-]{1,40})/(?P<rest>[A-Za-z0-9._:/-]{1,256})"
)
_ROUTES: Final = frozenset(
    {"bedrock", "amazon-bedrock", "amazon_bedrock", "aws-bedrock", "aws", "converse",
     "converse-stream", "bedrock_converse", "bedrock-converse", "invoke"}
)  # fmt: skip
_REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d+")
_SIZE: Final = re.compile(r":(\d+)k$")
_VARIANT: Final = re.compile(r":(?:\d+k|mm)$")

CALLABLE_KINDS: Final = frozenset(
    {
        "foundation-model", "inference-profile", "application-inference-profile",
        "provisioned-model", "custom-model", "custom-model-deployment", "imported-model",
        "prompt", "prompt-router", "default-prompt-router",
    }
)  # fmt: skip
"""ARN resource types of the service ``bedrock`` that Converse takes."""


class Arn(NamedTuple):
    """An ARN that Converse takes. ``region`` and ``account`` may be empty; ``rest`` follows the
    resource type and a slash."""

    partition: str
    service: str
    region: str
    account: str
    kind: str
    rest: str


def parse_arn(text: str) -> Arn | None:
    """``text`` as an ARN that Converse takes; ``None`` for anything else."""
    match = _ARN.fullmatch(text)
    if match is None:
        return None
    arn = Arn(*match.groups())
    if arn.service == "sagemaker":
        return arn if arn.kind == "endpoint" else None
    return arn if arn.kind in CALLABLE_KINDS else None


def foundation_in(arns: list[str]) -> tuple[str, bool]:
    """The foundation model id of the first foundation-model ARN, and whether one of them has no
    region: so the members of a profile that may run anywhere are marked."""
    found = [arn for arn in map(parse_arn, arns) if arn and arn.kind == "foundation-model"]
    return (found[0].rest if found else ""), any(not arn.region for arn in found)


def check_name(name: str) -> None:
    """Raise the 404 of a name that cannot be a model's."""
    if len(name) > MAX_LENGTH:
        raise no_model(f"{name[:60]}…", f"it is longer than {MAX_LENGTH} characters")
    if name.startswith("arn:"):
        well_formed = parse_arn(name) is not None
    else:
        well_formed = _NAME.fullmatch(name) is not None
    if not well_formed or any(part in ("", ".", "..") for part in name.split("/")):
        raise no_model(name, "it cannot be the name of a model")


def strip_route(name: str) -> tuple[str, str | None]:
    """``name`` without the route words that other gateways put before it, and the region among
    them: ``bedrock/converse/eu-west-1/anthropic.x`` gives ``anthropic.x``, ``eu-west-1``."""
    region = None
    while "/" in name and not name.startswith("arn:"):
        word, rest = name.split("/", 1)
        if word in _ROUTES:
            name = rest
        elif region is None and _REGION.fullmatch(word):
            name, region = rest, word
        else:
            break
    return name, region


def geography_of(call: str, foundation: str) -> str:
    """The geo prefix of a system profile's id or ARN, given its foundation model; else ""."""
    arn = parse_arn(call)
    name = arn.rest if arn is not None else call
    suffix = f".{foundation}"
    return name.removesuffix(suffix) if foundation and name.endswith(suffix) else ""


def context_size(model_id: str) -> int | None:
    """Tokens of a context-size variant: ``…:300k`` gives 300000."""
    match = _SIZE.search(model_id)
    return int(match[1]) * 1000 if match else None


def is_variant(model_id: str) -> bool:
    """Whether the id names a context-size variant (``…:300k``, ``…:mm``)."""
    return _VARIANT.search(model_id) is not None


def no_model(name: str, why: str, nearest: tuple[str, ...] = ()) -> ProxyError:
    """404 ``model_not_found``. The name is shown printable and short."""
    shown = "".join(c if c.isprintable() else "?" for c in name[:200])
    hint = f" Did you mean {_either(nearest)}?" if nearest else ""
    return ProxyError(
        404,
        f"The model {shown!r} does not exist: {why}.{hint}",
        type="invalid_request_error",
        code="model_not_found",
        param="model",
    )


def _either(names: tuple[str, ...]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
