#!/usr/bin/env bash
# Installs the project for one kind of machine into a virtual environment; used by the Makefile and the Dockerfiles.
#
#   docker/install.sh VENV cpu|gpu       the project
#   docker/install.sh VENV dev           what its tests and `make lint` need, beside it
#   docker/install.sh VENV docs          what builds the documentation, beside both
#
# All packages come in the versions of docker/locks/ (written by docker/lock.sh) and are held to their hashes; torch on
# CPUs alone is held to its version.
#
# PYTHON           the interpreter that makes the environment (default: python3.11, python3.12 or python3, as found)
# TORCH_INDEX_URL  one more package index, for a torch build that the usual one does not have (default: none)
#
# What can go wrong outside the project ends with one line on stderr and a nonzero exit code.
set -euo pipefail
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1

venv=$1
kind=$2
needed_gib=6

fail() {
    echo "error: $1" >&2
    exit 1
}

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        supported "$PYTHON" || fail "PYTHON=$PYTHON is not Python 3.11 or 3.12; name one, such as make PYTHON=python3.11"
        echo "$PYTHON"
        return
    fi
    local candidate
    for candidate in python3.11 python3.12 python3; do
        if supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or 3.12 found ($(python3 --version 2>&1 || true)); install one, or name it with make PYTHON=/path/to/python3.11"
}

check_space() {
    local free_kib
    free_kib=$(df -Pk . | awk 'NR == 2 { print $4 }')
    [ "$free_kib" -ge $((needed_gib * 1024 * 1024)) ] ||
        fail "only $((free_kib / 1024)) MiB free in $PWD; the installation needs $needed_gib GiB"
}

make_venv() {
    local python=$1
    if [ -x "$venv/bin/python" ] && supported "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    rm -rf "$venv"
    "$python" -m venv "$venv" >/dev/null 2>&1 ||
        fail "$python cannot make a virtual environment; install its venv module (Debian, Ubuntu: python3-venv)"
}

# A small download first: an index that does not answer shows in seconds instead of after pip's long retries.
check_index() {
    local probe=$1
    "$venv/bin/python" -m pip download --quiet --no-deps --retries 1 --timeout 15 --dest "$venv/probe" "$probe" \
        >"$log" 2>&1 ||
        fail "the package index cannot be reached or lacks $probe; check the network, proxies and PIP_INDEX_URL (details: $log)"
    rm -rf "$venv/probe"
}

# Until the end, a line every 10 seconds: for how long, how many packages, the time for the others at this pace, and
# which one.
show_life() {
    local total seen left
    total=$(grep -c '==' "$lock")
    while sleep 10 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
        seen=$(grep -cE '^(Collecting|Requirement already)' "$log" || true) # torch, which has no hash, is among them
        [ "$seen" -le "$total" ] || seen=$total
        left=
        if [ "$seen" -gt 0 ] && [ "$seen" -lt "$total" ]; then
            left=$((SECONDS * (total - seen) / seen))
            left=$(printf ', about %d:%02d left' $((left / 60)) $((left % 60)))
        fi
        printf '  %d:%02d  %s of %s packages%s  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) \
            "$seen" "$total" "$left" \
            "$(grep -E '^(Collecting|Building|Installing|Obtaining|Loading) ' "$log" | tail -n 1 | cut -c 1-60)"
    done
}

pip() {
    "$venv/bin/python" -m pip "$@" >>"$log" 2>&1 ||
        fail "the installation failed: $(grep -m 1 -E '^ *(ERROR|error):' "$log" || tail -n 1 "$log") (details: $log)"
}

# Every package of a lock, and torch where the lock has none; then the project over them.
install_locked() {
    pip install --progress-bar off --no-deps --require-hashes --requirement "$1"
    if ! grep -q '^torch==' "$1"; then
        # Without its dependencies: the lock was resolved with it, and holds them.
        pip install --progress-bar off --no-deps "${index[@]}" "$(sed -n 's/^ *\(torch==.*\)$/\1/p' setup.cfg)+cpu"
    fi
    pip install --progress-bar off --no-deps --no-build-isolation --editable .
}

check_imports() {
    echo "Loading the packages once" >>"$log"
    # DeepSpeed and vLLM take seconds to compile at their first import otherwise.
    "$venv/bin/python" -c 'import deepspeed, ray, torch, transformers, vllm' >>"$log" 2>&1 ||
        fail "the installed packages do not load together: $(tail -n 1 "$log") (details: $log)"
}

case $kind in
    cpu | gpu | dev | docs) ;;
    *) fail "$kind: must be cpu, gpu, dev or docs" ;;
esac
index=()
[ -z "${TORCH_INDEX_URL:-}" ] || index=(--extra-index-url "$TORCH_INDEX_URL")
log=$venv/install.log
if [ "$kind" = cpu ] || [ "$kind" = gpu ]; then
    python=$(find_python)
    check_space
    make_venv "$python"
fi
: >"$log"
# Every Python that is supported has one.
lock=docker/locks/$kind-$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt
show_life &
life=$!
trap 'kill "$life" 2>/dev/null || true' EXIT
if [ "$kind" = dev ] || [ "$kind" = docs ]; then
    echo "installing $lock into $venv (details: $log)"
    pip install --progress-bar off --no-deps --require-hashes --requirement "$lock"
    exit
fi
check_index "$(sed -n 's/^ *\(xxhash==.*\)$/\1/p' setup.cfg)"
echo "installing $lock into $venv (about 5 minutes; details: $log)"
install_locked "$lock"
check_imports
