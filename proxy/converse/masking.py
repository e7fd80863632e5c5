"""What of an AWS error's message may be shown to a client: masked, and no longer than useful.

AWS's messages are the caller's best hint ("retry your request with the ID or ARN of an inference
profile"), and they name the account, the role and the host that only the operator should know.
Masked are ARNs, account ids, role and user names, hosts, VPC (endpoint) ids, access key ids and
Bedrock API keys; a model's own id stays readable, also out of an ARN. Total functions: no errors.

Source: IAM user guide, *IAM identifiers* (unique id prefixes) and *Amazon Resource Names*.
"""

import re
from typing import Final

_LONGEST: Final = 2000  # characters
_HTML: Final = re.compile(r"<(!doctype|html|head|body)\b", re.IGNORECASE)

# Order matters: an ARN holds an account id, so ARNs go first; those of foundation models and system
# profiles hold the caller's own model id, which stays. A host starts where no name precedes it: one
# attempt a word, so that a hostile text cannot make the search quadratic.
_MASKS: Final = (
    (
        re.compile(
            r"arn:aws[\w-]*:bedrock:[\w-]*:\d*:(?:foundation-model|inference-profile)/([\w.:-]*\w)"
        ),
        r"\1",
    ),
    (re.compile(r"arn:aws[\w-]*:(?:[^\s\"',;)\]}]|,(?=\S))*"), "<arn>"),
    (re.compile(r"(?<!\d)\d{12}(?!\d)"), "<account>"),
    (
        re.compile(
            r"(?<![\w.-])(?:[\w-]{1,63}\.){1,12}(?:amazonaws\.(?:com(?:\.cn)?|eu)|api\.aws"
            r"|api\.amazonwebservices\.(?:com\.cn|eu)|(?:ic|sgov)\.gov|adc-e\.uk)\b\S*"
        ),
        "<host>",
    ),
    (re.compile(r"\bvpce?-[0-9a-z]{8,}"), "<vpc>"),
    (re.compile(r"\bA(?:BIA|CCA|GPA|IDA|IPA|KIA|NPA|NVA|PKA|ROA|SCA|SIA)[A-Z0-9]{12,}\b"), "<id>"),
    (re.compile(r"\bABSK[\w+/=]{12,}|\bbedrock-api-key-[\w+/=-]+"), "<key>"),
    (
        re.compile(
            r"\b(assumed-role|role|user)/(?!(?:assistant|system|tool|developer)\b)[\w+=,.@/-]+",
            re.IGNORECASE,
        ),
        r"\1/<name>",
    ),
)


def mask(message: str) -> str:
    """``message`` without the AWS account's inner structure; model names stay readable."""
    for pattern, put in _MASKS:
        message = pattern.sub(put, message)
    return message


def presentable(message: str) -> str:
    """What of ``message`` is worth showing: no page of HTML, and of a long text both ends (it
    quotes the request in the middle and gives its reason last)."""
    text = message.strip()
    if _HTML.search(text[:_LONGEST]):
        return ""
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half].rsplit(None, 1)[0]} [...] {text[-half:].split(None, 1)[-1]}"
