# Sourced: a folder that is removed at the end, the current one from here on, and
# `install PACKAGE...`, which makes an environment there, whose interpreter is $python.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$folder"
export HF_HOME=$folder/huggingface TOKENIZERS_PARALLELISM=false
export CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1
python=$folder/venv/bin/python

install() {
    local uv base=3.12 candidate
    # A pyenv shim may be there and not run.
    for candidate in "$HOME"/.pyenv/versions/3.12*/bin/python3.12 "$(command -v python3.12)"; do
        if "$candidate" -c "" 2>/dev/null; then base=$candidate; fi
    done
    [ ! -e venv ] || rm -r venv
    uv=$(command -v "$here/../.tools/uv/bin/uv" || command -v uv || true)
    if [ -n "$uv" ]; then
        "$uv" venv -q --no-project --python "$base" venv
        "$uv" pip install -q --python "$python" "$@"
    else
        "${base/#3.12/python3.12}" -m venv venv
        "$python" -m pip install -q "$@"
    fi
    "$python" -c '
import sys
from importlib.metadata import version
print(", ".join(f"{name} {version(name)}" for name in sys.argv[1:]))' "${@%%==*}"
}
