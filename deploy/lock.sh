#!/usr/bin/env bash
# Writes the locks that the image installs from, each with a hash for every file and no host:
#   requirements.lock        what the proxy needs to run
#   requirements-full.lock   that, and every extra of pyproject.toml but `test`
#   requirements-build.lock  what builds the proxy's own wheel
# Versions that stand in a lock stay unless something forbids them; --upgrade takes the newest,
# `--exclude-newer DATE` (a cooldown for releases nobody has looked at yet) is passed on to uv.
# Needs uv on the path, or UV=/path/to/uv.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=${UV:-uv}
python=3.11 # the oldest that pyproject.toml allows; markers cover the newer ones
if ! command -v "$uv" >/dev/null; then
    echo "uv is not on the path; install it, or say where it is: UV=/path/to/uv $0" >&2
    exit 2
fi

lock() { # target, then what is to be locked
    local target=$1
    shift
    "$uv" pip compile --quiet --universal --python-version "$python" --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
        "${options[@]}" --output-file "$target" "$@"
    echo "$target: $(grep -c '==' "$target") packages"
}

names() { # the extras but `test`, or the build requirements, one a line
    python3 - "$1" <<'PYTHON'
import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))
extras = project["project"].get("optional-dependencies", {})
found = {"extras": sorted(set(extras) - {"test"}), "build": project["build-system"]["requires"]}
print("\n".join(found[sys.argv[1]]))
PYTHON
}

options=("$@")
extras=()
while read -r extra; do
    [ -z "$extra" ] || extras+=(--extra "$extra")
done < <(names extras)

lock deploy/requirements.lock pyproject.toml
lock deploy/requirements-full.lock "${extras[@]}" pyproject.toml
names build | lock deploy/requirements-build.lock -
