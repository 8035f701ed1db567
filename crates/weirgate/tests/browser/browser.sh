#!/usr/bin/env bash
# What tests drive a browser with: Playwright's core and axe, without a browser of their own.
#
#   browser.sh install DIR   install both into DIR, unless they are there
#
# Tests take them from $WEIRGATE_TEST_BROWSER (DIR), and Debian's `chromium` from the path.
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
    install) install "${2:?browser.sh install DIR}" ;;
    *) sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$0" >&2 && exit 2 ;;
esac
