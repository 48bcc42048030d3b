#!/bin/bash
# In the image build: the locked packages in an environment of their own, .venv, beside the base image's Python.
#
# The base is not written to. The environment sees the base's packages after its own, so torch and what belongs to it are
# the vendor's, and everything else is what uv.lock says. It works where the base keeps torch in the system's Python
# (pytorch/pytorch) and where it keeps it in a virtual environment (rocm/pytorch: /opt/venv).
set -euo pipefail

UV_VERSION=0.13.9
cd "$(dirname "$0")/../.."

if [ "$(sha256sum uv.lock | cut -d' ' -f1)" != "${LOCK_SHA256:?}" ]; then
    echo "image: LOCK_SHA256 is not that of uv.lock; build with 'make image'" >&2
    exit 1
fi

base_python=$(command -v python3)
torch_of() {
    "$1" -c 'import importlib.metadata as m; t = m.distribution("torch"); print(t.version, t.locate_file("").resolve())'
}
torch=$(torch_of "$base_python")
torch_site=${torch#* }
fingerprint() { find "$torch_site" -not -path '*__pycache__*' -type f -printf '%P %s %T@\n' | sort | sha256sum; }
before=$(fingerprint)
echo "image: the base has torch $torch"

"$base_python" -m pip install --quiet --no-cache-dir --target .tools/uv "uv==$UV_VERSION"
uv=.tools/uv/bin/uv
# The cache is a mount that does not stay in the image.
export UV_LINK_MODE=copy
# uv leaves its locks behind where it builds a package.
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

# Left to the base: torch, what is compiled against it, and its GPU libraries. LeRobot reads video without torchcodec.
vendor=()
while read -r name; do
    vendor+=(--no-emit-package "$name")
done < <(sed -nE 's/^name = "(torch|torchvision|torchaudio|torchcodec|triton|nvidia-.*|cuda-.*)"$/\1/p' uv.lock |
    grep -vx nvidia-ml-py) # a reader of the driver's counters, in Python alone
requirements=$(mktemp)
$uv export --quiet --frozen --no-dev --no-emit-project "${vendor[@]}" --output-file "$requirements"

$uv venv --quiet --python "$base_python" .venv
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
printf 'import site; site.addsitedir("%s")\n' "$torch_site" > "$site/base_image.pth"
$uv pip install --quiet --python .venv/bin/python --no-deps --compile-bytecode --require-hashes \
    --requirements "$requirements"
rm "$requirements"
# The base's own torchrun starts the base's Python, which has none of these.
printf '#!%s\nfrom torch.distributed.run import main\n\nmain()\n' "$PWD/.venv/bin/python" > .venv/bin/torchrun
chmod 755 .venv/bin/torchrun

if [ "$(torch_of .venv/bin/python)" != "$torch" ] || [ "$(fingerprint)" != "$before" ]; then
    echo "image: the build changed the base's torch ($torch); it is now $(torch_of .venv/bin/python)" >&2
    exit 1
fi
