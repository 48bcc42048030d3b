#!/bin/bash
# In the image build: the project itself, LIBERO's configuration without its prompt, and one frame and one
# step of training as a proof.
set -euo pipefail

cd "$(dirname "$0")/../.."
# What a home and /tmp are given here is root's, and the image's user could not write into it.
HOME=$(mktemp -d)
export HOME TMPDIR=$HOME
trap 'rm -rf "$HOME"' EXIT

UV_LINK_MODE=copy .tools/uv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
# A checkout made under a strict umask is readable by its owner only; the image's user is another.
chmod -R a+rX bench scripts suites wmvla pyproject.toml uv.lock
# The user of the image may not write here, so bytecode that is not made now would be made at every start.
.venv/bin/python -m compileall -q bench wmvla
.venv/bin/python -c 'from wmvla.sim.libero.assets import prepare_libero; prepare_libero()'
.venv/bin/python scripts/image/render_check.py
.venv/bin/python scripts/image/torch_check.py
