#!/usr/bin/env bash
# Installs the proxy on one machine with systemd: a virtualenv from the lock with hashes, settings
# with a random key, the unit. Run as root from a clone; again after `git pull` to upgrade.
#
#   sudo deploy/systemd/install.sh [--port 8000] [--lock requirements-full.lock]
#
# DESTDIR=/some/folder lays everything out below that folder and leaves systemd alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

port=8000
lock=requirements.lock
while [ $# -gt 0 ]; do
    case $1 in
    --port) port=$2 && shift 2 ;;
    --lock) lock=$2 && shift 2 ;;
    *) echo "usage: $0 [--port PORT] [--lock FILE]" >&2 && exit 2 ;;
    esac
done

destination=${DESTDIR:-}
home=$destination/opt/bedrock-openai-proxy
settings=$destination/etc/bedrock-openai-proxy
units=$destination/etc/systemd/system

if [ -z "$destination" ] && [ "$(id -u)" -ne 0 ]; then
    echo "It installs a service, so run it as root: sudo $0" >&2
    exit 2
fi
if ! python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Python 3.11 or newer with venv is needed. On Debian and Ubuntu:" >&2
    echo "  apt-get install python3-venv" >&2
    exit 2
fi

echo "installing into $home"
install -d -m 0755 "$home"
# Built beside the old one and swapped in, so that a failed download breaks nothing that runs.
rm -rf "$home/venv.new" "$home/build"
python3 -m venv "$home/build"
"$home/build/bin/pip" install --quiet --require-hashes -r deploy/requirements-build.lock
"$home/build/bin/pip" wheel --quiet --no-build-isolation --no-deps \
    --wheel-dir "$home/build/wheels" .
python3 -m venv "$home/venv.new"
"$home/venv.new/bin/pip" install --quiet --only-binary=:all: --require-hashes --no-deps \
    -r "deploy/$lock"
"$home/venv.new/bin/pip" install --quiet --no-index --no-deps "$home"/build/wheels/*.whl
rm -rf "$home/build" "$home/venv.old"
[ ! -e "$home/venv" ] || mv "$home/venv" "$home/venv.old"
mv "$home/venv.new" "$home/venv"
# Scripts name their interpreter by its whole path, which the move has changed.
sed -i "1s|^#!.*|#!${home#"$destination"}/venv/bin/python3|" "$home/venv/bin/bedrock-openai-proxy"
rm -rf "$home/venv.old"

install -d -m 0755 "$settings"
if [ ! -e "$settings/proxy.env" ]; then
    key=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
    (umask 077 && cat deploy/systemd/proxy.env >"$settings/proxy.env")
    echo "BEDROCK_PROXY_API_KEY=$key" >>"$settings/proxy.env"
    echo "settings, with a new API key: $settings/proxy.env"
fi
install -D -m 0644 deploy/systemd/bedrock-openai-proxy@.service \
    "$units/bedrock-openai-proxy@.service"

if [ -n "$destination" ]; then
    echo "laid out below $destination; systemd was left alone"
    exit 0
fi
systemctl daemon-reload
systemctl enable "bedrock-openai-proxy@$port"
systemctl restart "bedrock-openai-proxy@$port"
echo "started; see: journalctl -u bedrock-openai-proxy@$port"
