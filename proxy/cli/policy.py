"""The smallest IAM policy that lets the proxy do its work. Pure.

Calling through an inference profile needs the profile's own ARN *and* the foundation model's in
every region that the profile may route to (of a global one: an ARN without a region). Listings know
no resources. Source: Amazon Bedrock user guide, *Prerequisites for inference profiles*; Service
Authorization Reference, *Amazon Bedrock*.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from proxy.catalog.families import foundation_of
from proxy.catalog.names import parse_arn

CALLS: Final = ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream")
LISTINGS: Final = (
    "bedrock:ListFoundationModels", "bedrock:ListInferenceProfiles", "bedrock:GetInferenceProfile",
)  # fmt: skip
BEARER: Final = "bedrock:CallWithBearerToken"


def partition_of(region: str) -> str:
    """The partition in an ARN of that region."""
    starts = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "eusc-": "aws-eusc"}
    return next((name for start, name in starts.items() if region.startswith(start)), "aws")


def document(resources: Sequence[str], *, bearer: bool = False) -> dict[str, Any]:
    """The policy that allows calls on ``resources``, the listings, and a Bedrock API key."""
    statements: list[dict[str, Any]] = [
        {"Sid": "Call", "Effect": "Allow", "Action": list(CALLS), "Resource": list(resources)},
        {"Sid": "List", "Effect": "Allow", "Action": list(LISTINGS), "Resource": "*"},
    ]
    if bearer:
        statements.append(
            {"Sid": "ApiKey", "Effect": "Allow", "Action": BEARER, "Resource": "*"}
        )  # fmt: skip
    return {"Version": "2012-10-17", "Statement": statements}


def all_models(regions: Iterable[str], profiles: Iterable[Mapping[str, Any]]) -> list[str]:
    """ARNs for every model of ``regions``, and of wherever their ``profiles`` (as listed) lead."""
    found: dict[str, None] = {}
    for region in regions:
        own = f"arn:{partition_of(region)}:bedrock:{region}"
        for kind in ("inference-profile", "application-inference-profile", "provisioned-model"):
            found[f"{own}:*:{kind}/*"] = None
        found[f"{own}::foundation-model/*"] = None
    for arn in _members(profiles):
        found[re.sub(r"foundation-model/.*", "foundation-model/*", arn)] = None
    return sorted(found)


def one_model(call: str, region: str, profiles: Iterable[Mapping[str, Any]]) -> list[str]:
    """ARNs for what is called ``call`` in ``region``: a profile's (with its members', if it is
    listed), a foundation model's, or the ARN that it is."""
    own = f"arn:{partition_of(region)}:bedrock:{region}"
    for profile in profiles:
        arn = str(profile.get("inferenceProfileArn", ""))
        if call in (profile.get("inferenceProfileId"), arn) and arn:
            return sorted({arn, *_members([profile])})
    if parse_arn(call) is not None:
        return [call]
    foundation = foundation_of(call)
    if foundation and foundation != call:  # a profile that was not listed
        anywhere = f"arn:{partition_of(region)}:bedrock:*::foundation-model/{foundation}"
        return [f"{own}:*:inference-profile/{call}", anywhere]
    return [f"{own}::foundation-model/{call}"]


def _members(profiles: Iterable[Mapping[str, Any]]) -> list[str]:
    """The foundation models' ARNs of listed profiles."""
    arns = []
    for profile in profiles:
        for member in profile.get("models") or ():
            arn = member.get("modelArn") if isinstance(member, Mapping) else None
            if isinstance(arn, str) and ":foundation-model/" in arn:
                arns.append(arn)
    return arns
