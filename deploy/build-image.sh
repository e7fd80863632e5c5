#!/usr/bin/env bash
# Builds deploy/Dockerfile and runs what came out, on a Debian or Ubuntu machine without a container
# daemon and without a registry: the base comes from Debian's packages (mmdebstrap), buildah builds,
# bubblewrap runs it with a read-only root as uid 65532. For CI, and for whoever changes the image.
#
#   deploy/build-image.sh [--lock requirements-full.lock] [--work DIR]
#
# --work keeps the base and the layers in DIR for the next run; else all of it is removed.
# Missing tools are installed with apt (as root). Exit 0 means: built, small enough, configured as
# promised, and it streamed a chat from the embedded simulator.
#
# What differs from an image on the official base: Debian's own python3 (3.11 on Debian 12) instead
# of the newest one, and no docker or containerd: bubblewrap's namespaces, not theirs.
set -euo pipefail
cd "$(dirname "$0")/.."

lock=requirements.lock
work=
suite=bookworm
budget_mb=120
while [ $# -gt 0 ]; do
    case $1 in
    --lock) lock=$2 && shift 2 ;;
    --work) work=$2 && shift 2 ;;
    *) echo "usage: $0 [--lock FILE] [--work DIR]" >&2 && exit 2 ;;
    esac
done

say() { printf '\n-- %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2 && exit 1; }

tools=(buildah mmdebstrap bwrap curl)
missing=()
for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null || missing+=("${tool/bwrap/bubblewrap}")
done
if [ ${#missing[@]} -gt 0 ]; then
    say "installing ${missing[*]}"
    apt-get update -q >/dev/null
    apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
fi

running=
store=$(mktemp -d)
if [ -n "$work" ]; then
    mkdir -p "$work"
    work=$(realpath "$work")
else
    work=$store
fi
driver=vfs # works everywhere; overlay is several times as fast where the kernel lets us
b() { buildah --root "$work/layers-$driver" --runroot "$store/run" --storage-driver "$driver" "$@"; }
leave() {
    [ -z "$running" ] || kill "$running" 2>/dev/null || true
    b umount --all >/dev/null 2>&1 || true
    b rm --all >/dev/null 2>&1 || true
    rm -rf "$store"
}
trap leave EXIT

driver=overlay
{ probe=$(b from scratch) && b mount "$probe" && b rm "$probe"; } >/dev/null 2>&1 || driver=vfs
base=localhost/python:debian-$suite
if ! b inspect --type image "$base" >/dev/null 2>&1; then
    say "base: Debian $suite with its python3"
    # The machine's own list of package sources, if it has one, and else mmdebstrap's default.
    sources=(/etc/apt/sources.list.d/debian.sources /etc/apt/sources.list)
    mirror=()
    for file in "${sources[@]}"; do
        [ ! -s "$file" ] || { mirror=("$file") && break; }
    done
    mmdebstrap --quiet --dpkgopt=force-unsafe-io --variant=minbase --include=python3,python3-venv,ca-certificates \
        "$suite" "$work/base.tar" "${mirror[@]}"
    empty=$(b from scratch)
    b add --quiet "$empty" "$work/base.tar" /
    b commit --quiet --rm "$empty" "$base" >/dev/null
    rm "$work/base.tar"
fi

say "build with $lock"
image=localhost/bedrock-openai-proxy:built
mounts=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)
[ ! -e /etc/pip.conf ] || mounts+=(--volume /etc/pip.conf:/etc/pip.conf:ro)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
b bud --quiet --isolation chroot --network host --format docker "${mounts[@]}" \
    --file deploy/Dockerfile --ignorefile deploy/Dockerfile.dockerignore \
    --build-arg PYTHON_IMAGE="$base" --build-arg LOCK="$lock" --build-arg REVISION="$revision" \
    --tag "$image" . >/dev/null

say "configuration"
b inspect --type image "$image" | python3 -c '
import json, sys

docker = json.load(sys.stdin)["Docker"]
config = docker["config"]
expected = {
    "User": "65532:65532",
    "Entrypoint": ["bedrock-openai-proxy"],
    "Cmd": ["serve"],
    "StopSignal": "SIGTERM",
}
wrong = {name: config.get(name) for name, value in expected.items() if config.get(name) != value}
labels = [name for name in config.get("Labels", {}) if name.startswith("org.opencontainers.image.")]
if "/opt/healthcheck.py" not in config.get("Healthcheck", {}).get("Test", []):
    wrong["Healthcheck"] = config.get("Healthcheck")
if len(labels) < 5:
    wrong["Labels"] = labels
print("user 65532, entry point, stop signal, health check, labels:", wrong or "as promised")
sys.exit(bool(wrong))
' || fail "the image's configuration is not what it should be"

unpacked_mb() { du -sm --apparent-size "$1" | cut -f1; }
root=$(b mount "$(b from "$image")")
base_root=$(b mount "$(b from "$base")")
beyond=$(($(unpacked_mb "$root") - $(unpacked_mb "$base_root")))
say "size: $beyond MB unpacked beyond the base ($(unpacked_mb "$base_root") MB)"
[ "$beyond" -lt "$budget_mb" ] || fail "that is not under $budget_mb MB"
[ -z "$(find "$root/opt/venv" -name '*.pth' -print)" ] || fail "a .pth file runs at every start"
[ ! -e "$root/opt/venv/bin/pip" ] || fail "the image has a package installer"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
inside() { # one command in the image: read-only, nobody's uid, no capability, nothing of ours
    bwrap --ro-bind "$root" / --dev /dev --proc /proc --tmpfs /tmp --unshare-user --uid 65532 \
        --gid 65532 --cap-drop ALL --unshare-pid --unshare-ipc --unshare-uts --new-session \
        --die-with-parent --clearenv --setenv PATH /opt/venv/bin:/usr/bin:/bin \
        --setenv BEDROCK_PROXY_HOST 0.0.0.0 --setenv BEDROCK_PROXY_PORT "$port" "$@"
}

say "without a key it does not serve others"
if inside bedrock-openai-proxy serve >"$store/refused" 2>&1; then
    fail "it started without a key"
fi
grep -q 'no API key is set' "$store/refused" || fail "$(cat "$store/refused")"
sed -n 1p "$store/refused"

say "read-only, as $(inside id -u)"
if inside touch /opt/venv/written 2>"$store/refused"; then
    fail "the root can be written"
fi
cat "$store/refused"

say "a streamed chat from the simulator"
key=$(python3 -c 'import secrets; print(secrets.token_hex(16))')
inside --setenv BEDROCK_PROXY_API_KEY "$key" bedrock-openai-proxy demo --pace 0.001 \
    >"$store/log" 2>&1 &
running=$!
for _ in $(seq 100); do
    curl -fs "http://127.0.0.1:$port/readyz" >/dev/null 2>&1 && break
    kill -0 "$running" 2>/dev/null || fail "it ended: $(cat "$store/log")"
    sleep 0.1
done
curl -sS --max-time 30 -N "http://127.0.0.1:$port/v1/chat/completions" \
    -H "authorization: Bearer $key" -H 'content-type: application/json' -d '{
        "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "stream": true,
        "messages": [{"role": "user", "content": "Say hello in five words."}]}' >"$store/stream"
chunks=$(grep -c '^data: {' "$store/stream" || true)
[ "$chunks" -ge 3 ] || fail "only $chunks chunks: $(cat "$store/stream")"
grep -qx 'data: \[DONE\]' "$store/stream" || fail "the stream did not end: $(cat "$store/stream")"
grep -q '"finish_reason":"stop"' "$store/stream" || fail "no finish: $(cat "$store/stream")"
echo "$chunks chunks, then [DONE]"
inside /opt/venv/bin/python3 -IS /opt/healthcheck.py || fail "the health check finds it unwell"
echo "health check: well"

kill -TERM "$running" && wait "$running" 2>/dev/null || true
running=
if inside /opt/venv/bin/python3 -IS /opt/healthcheck.py 2>/dev/null; then
    fail "the health check finds a proxy that has left"
fi
say "built and run: $beyond MB beyond the base, uid 65532, read-only, $chunks chunks"
