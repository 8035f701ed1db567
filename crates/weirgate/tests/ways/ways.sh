#!/usr/bin/env bash
# botocore, by which a test verifies signatures of AWS requests.
#
#   ways.sh install VENV   make a Python environment with botocore in it, unless it is there
#
# The test takes it from $WEIRGATE_TEST_WAYS, the environment's folder of programs (VENV/bin).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ "${1:-}" != install ] || [ -z "${2:-}" ]; then
    sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$0" >&2
    exit 2
fi
venv=$2 stamp=$2/requirements.installed
if [ -d "$venv/lib" ] && cmp -s "$here/requirements.txt" "$stamp"; then
    exit 0
fi
rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
# Last, so that a broken installation is made anew.
cp "$here/requirements.txt" "$stamp"
