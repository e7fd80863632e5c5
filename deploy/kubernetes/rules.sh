#!/usr/bin/env bash
# Writes grafana/prometheus/{recording,alerts}.yml as one PrometheusRule; a test holds it to them.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=deploy/kubernetes/components/observability/prometheusrule.yaml
{
    cat <<'YAML'
# Made by deploy/kubernetes/rules.sh of grafana/prometheus: change those, not this file.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: bedrock-openai-proxy
spec:
  groups:
YAML
    for file in recording alerts; do
        sed -e '/^#/d' -e '/^groups:/d' -e '/^ *$/d' -e 's/^/  /' "grafana/prometheus/$file.yml"
    done
} >"$target"
echo "$target: $(grep -c ' expr:' "$target") rules"
