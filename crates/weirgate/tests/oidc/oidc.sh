#!/usr/bin/env bash
# A certified OpenID Connect provider for tests: npm's oidc-provider.
#
#   oidc.sh install DIR   install it into DIR, unless it is there
#
# Tests take it from $WEIRGATE_TEST_OIDC (DIR), and run provider.mjs with it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

install() {
    local dir=$1
    if cmp -s "$here/package-lock.json" "$dir/installed"; then
        return
    fi
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$here/package.json" "$here/package-lock.json" "$dir"
    npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --silent
    # Last, so that a broken installation is made anew.
    cp "$here/package-lock.json" "$dir/installed"
}

case ${1:-} in
    install) install "${2:?oidc.sh install DIR}" ;;
    *) sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$0" >&2 && exit 2 ;;
esac
