#!/usr/bin/env bash
# Let an EC2 instance call Amazon Bedrock: a role, its policy, an instance profile, IMDSv2.
#
#   ./setup.sh --instance-id i-0123456789abcdef0 --region us-east-1
#
# It may be run again at any time: what is there already is left or brought up to date. By default the
# role may call models and list them, no more (bedrock-policy.json); --full-access attaches the managed
# policy AmazonBedrockFullAccess instead. Without --instance-id everything but the instance is set up.
# Needs the AWS CLI (version 1 or 2), signed in as somebody who may change IAM roles and the instance.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
role=EC2-Bedrock-Access
policy=bedrock-openai-proxy
instance=
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}}
document=$here/bedrock-policy.json
full=false
hops=2 # a container on the instance is one hop further away

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    cat <<TEXT

  --instance-id ID     attach the role to this instance
  --region REGION      the instance's region (else AWS_REGION)
  --role-name NAME     role and instance profile (default: $role)
  --policy FILE        another policy document ('doctor' prints one for your models)
  --full-access        attach AmazonBedrockFullAccess instead of the policy document
  --replace-profile    replace another instance profile that the instance has
TEXT
}

die() {
    printf 'setup.sh: %s\n' "$*" >&2
    exit 2
}

replace=false
while [ $# -gt 0 ]; do
    case $1 in
        --instance-id | --region | --role-name | --policy)
            [ $# -ge 2 ] || die "$1 needs a value"
            case $1 in
                --instance-id) instance=$2 ;;
                --region) region=$2 ;;
                --role-name) role=$2 ;;
                --policy) document=$2 ;;
            esac
            shift 2
            ;;
        --full-access) full=true && shift ;;
        --replace-profile) replace=true && shift ;;
        -h | --help) usage && exit 0 ;;
        *) die "unknown option $1 (see --help)" ;;
    esac
done
command -v aws >/dev/null || die "the AWS CLI is not installed"
[ -r "$document" ] || die "$document cannot be read"
[ -z "$instance" ] || [ -n "$region" ] || die "name the instance's region with --region"

say() { printf '%s\n' "$*"; }
iam() { aws iam "$@"; }
ec2() { aws ec2 --region "$region" "$@"; }

# The partition (aws, aws-cn, aws-us-gov) is in the caller's own ARN.
caller=$(aws sts get-caller-identity --query Arn --output text) || die "AWS does not know who you are"
partition=$(printf '%s' "$caller" | cut -d: -f2)
managed=arn:$partition:iam::aws:policy/AmazonBedrockFullAccess
trust=$here/trust-policy.json
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ "$partition" != aws ]; then
    sed "s/arn:aws:/arn:$partition:/g" "$document" >"$scratch/policy.json"
    document=$scratch/policy.json
fi
if [ "$partition" = aws-cn ]; then
    sed 's/ec2\.amazonaws\.com/ec2.amazonaws.com.cn/' "$trust" >"$scratch/trust.json"
    trust=$scratch/trust.json
fi

# 1. The role, and what it may do.
if iam get-role --role-name "$role" >/dev/null 2>&1; then
    say "role $role: is there"
    iam update-assume-role-policy --role-name "$role" --policy-document "file://$trust"
else
    iam create-role --role-name "$role" --assume-role-policy-document "file://$trust" \
        --description "Calls Amazon Bedrock (bedrock-openai-proxy)" >/dev/null
    say "role $role: created"
fi

attached=$(iam list-attached-role-policies --role-name "$role" \
    --query "AttachedPolicies[?PolicyArn=='$managed'] | length(@)" --output text)
if $full; then
    [ "$attached" != 0 ] || iam attach-role-policy --role-name "$role" --policy-arn "$managed"
    if iam get-role-policy --role-name "$role" --policy-name "$policy" >/dev/null 2>&1; then
        iam delete-role-policy --role-name "$role" --policy-name "$policy"
    fi
    say "permissions: AmazonBedrockFullAccess"
else
    iam put-role-policy --role-name "$role" --policy-name "$policy" \
        --policy-document "file://$document"
    if [ "$attached" != 0 ]; then
        iam detach-role-policy --role-name "$role" --policy-arn "$managed"
    fi
    say "permissions: $policy (call models, list them)"
fi

# 2. The instance profile: what an instance can be given.
if ! iam get-instance-profile --instance-profile-name "$role" >/dev/null 2>&1; then
    iam create-instance-profile --instance-profile-name "$role" >/dev/null
    say "instance profile $role: created"
fi
holds=$(iam get-instance-profile --instance-profile-name "$role" \
    --query 'InstanceProfile.Roles[0].RoleName' --output text)
case $holds in
    "$role") say "instance profile $role: holds the role" ;;
    None | '')
        iam add-role-to-instance-profile --instance-profile-name "$role" --role-name "$role"
        say "instance profile $role: was given the role"
        ;;
    *) die "the instance profile $role holds the role $holds; choose another --role-name" ;;
esac
[ -n "$instance" ] || { say "no --instance-id: done" && exit 0; }

# 3. The instance. A new profile is known to EC2 only seconds later.
associate() {
    local tries=1
    until ec2 "$@" >/dev/null 2>"$scratch/error"; do
        if [ $tries -ge 10 ] || ! grep -q 'Invalid IAM Instance Profile' "$scratch/error"; then
            cat "$scratch/error" >&2
            die "the instance profile could not be attached to $instance"
        fi
        tries=$((tries + 1))
        sleep 3
    done
}

current=$(ec2 describe-iam-instance-profile-associations \
    --filters "Name=instance-id,Values=$instance" Name=state,Values=associating,associated \
    --query 'IamInstanceProfileAssociations[0].[AssociationId,IamInstanceProfile.Arn]' --output text)
read -r association arn <<<"$current" || true
case ${arn:-None} in
    None)
        associate associate-iam-instance-profile --instance-id "$instance" \
            --iam-instance-profile "Name=$role"
        say "instance $instance: was given $role"
        ;;
    */"$role") say "instance $instance: has $role" ;;
    *)
        $replace || die "$instance has the instance profile ${arn##*/}; --replace-profile replaces it," \
            "or add the policy to its role"
        associate replace-iam-instance-profile-association --association-id "$association" \
            --iam-instance-profile "Name=$role"
        say "instance $instance: was given $role in place of ${arn##*/}"
        ;;
esac

# 4. Credentials by IMDSv2 only, also for a container on the instance.
ec2 modify-instance-metadata-options --instance-id "$instance" --http-endpoint enabled \
    --http-tokens required --http-put-response-hop-limit "$hops" >/dev/null
say "instance $instance: IMDSv2 required, hop limit $hops"

cat <<TEXT

On the instance, nothing has to be set but the region (no AWS_PROFILE=default, no keys):

  export AWS_REGION=$region
  bedrock-openai-proxy doctor        # checks credentials and permissions by real calls
  bedrock-openai-proxy models list
  bedrock-openai-proxy serve
TEXT
