#!/usr/bin/env bash
# A kinto server for tests and for trying things out by hand.
#
#   kinto.sh install VENV   make a Python environment with kinto in it, unless it is there
#   kinto.sh run [PORT]     serve in the foreground (port 0, the default, takes a free one)
#   kinto.sh start [PORT]   serve in the background on PORT (default 8888), with the account
#                           alice:correct-horse and ten records in /buckets/hr/collections/people
#   kinto.sh stop           end what `start` started
#
# `run` and `start` take kinto from $WEIRGATE_TEST_KINTO, the environment's folder of programs
# (VENV/bin); so do the tests.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}/weirgate-kinto-$(id -u)

fail() {
    echo "kinto.sh: $*" >&2
    exit 1
}

program() {
    local bin=${WEIRGATE_TEST_KINTO:-}
    [ -n "$bin" ] || fail "set WEIRGATE_TEST_KINTO to VENV/bin; VENV is made by: $0 install VENV"
    [ -x "$bin/kinto" ] || fail "there is no kinto in $bin; make it with: $0 install ${bin%/bin}"
    echo "$bin/kinto"
}

install_kinto() {
    local venv=$1 stamp=$1/requirements.installed
    if [ -x "$venv/bin/kinto" ] && cmp -s "$here/requirements.txt" "$stamp"; then
        return
    fi
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    # Last, so that a broken installation is made anew.
    cp "$here/requirements.txt" "$stamp"
}

is_running() {
    [ -f "$state/pid" ] && kill -0 "$(cat "$state/pid")" 2>/dev/null
}

start_kinto() {
    local port=$1 kinto base people
    kinto=$(program)
    base=http://127.0.0.1:$port/v1
    people=$base/buckets/hr/collections/people
    is_running && fail "it runs already, as process $(cat "$state/pid")"
    rm -rf "$state"
    mkdir -m 0700 "$state"
    nohup "$kinto" start --ini "$here/kinto.ini" --port "$port" >"$state/log" 2>&1 </dev/null &
    echo $! >"$state/pid"
    for _ in $(seq 100); do
        curl -fsS -o "$state/answer" "$base/__heartbeat__" 2>/dev/null && break
        is_running || fail "kinto has ended; see $state/log"
        sleep 0.1
    done
    put() {
        curl -fsS -o "$state/answer" -X PUT -H 'Content-Type: application/json' "$@"
    }
    put "$base/accounts/alice" -d '{"data":{"password":"correct-horse"}}'
    put -u alice:correct-horse "$base/buckets/hr" -d '{}'
    put -u alice:correct-horse "$people" -d '{}'
    for number in $(seq 10); do
        put -u alice:correct-horse "$people/records/p$number" -d '{"data":{"name":"Person '"$number"'",
            "email":"person'"$number"'@example.com","salary":'"$((50000 + number))"',
            "address":{"city":"Weirtown","street":"Lock Lane '"$number"'"}}}'
    done
    echo "kinto serves $base as process $(cat "$state/pid"); log: $state/log"
}

stop_kinto() {
    is_running || fail "it does not run"
    kill "$(cat "$state/pid")"
    rm -rf "$state"
}

case ${1:-} in
    install) install_kinto "${2:?kinto.sh install VENV}" ;;
    run) kinto=$(program) && exec "$kinto" start --ini "$here/kinto.ini" --port "${2:-0}" ;;
    start) start_kinto "${2:-8888}" ;;
    stop) stop_kinto ;;
    *) sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$0" >&2 && exit 2 ;;
esac
