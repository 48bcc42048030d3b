#!/bin/bash
# Builds both images through `make image` on stand-in bases, and runs them: root, Debian's packages, no image registry.
#
# A stand-in base is a minimal Debian with this machine's Python 3.12 and a stub of torch that has metadata and no code:
# it skips a 5 GB layer, and shows that the build leaves the vendor's torch alone. So nothing here imports LeRobot; what is
# shown is that the build works, that the image renders and plans as any user without network, and what it carries.
# The two bases keep torch where the real ones do: rocm in /opt/venv, cuda in an externally managed system Python.
set -euo pipefail

cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "test-images needs root: it makes root file systems" >&2; exit 2; }
if ! command -v podman buildah runc mmdebstrap >/dev/null || ! podman --version >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends podman buildah runc mmdebstrap
fi

TORCH_VERSION=2.10.0+standin
work=$(mktemp -d /var/tmp/wmbench-images.XXXXXX)
# Build caches are below TMPDIR.
export TMPDIR=$work
export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf BUILDAH_ISOLATION=chroot
cat > "$CONTAINERS_STORAGE_CONF" <<TOML
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "$work/run"
TOML
# A machine without CAP_SYS_RESOURCE can raise no limits, and one without systemd has no cgroup manager.
cat > "$CONTAINERS_CONF" <<TOML
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
TOML
clean() {
    umount --recursive --quiet "$work/storage/overlay" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap clean EXIT

step() { printf '== %s (%(%H:%M:%S)T)\n' "$1" -1; }
check() { # check DESCRIPTION EXPECTED FOUND
    [ "$2" = "$3" ] || { printf 'FAILED %s: expected %s, found %s\n' "$1" "$2" "$3" >&2; exit 1; }
    printf 'ok     %s: %s\n' "$1" "$3"
}

step "stand-in root file system"
root=$work/rootfs
mmdebstrap --quiet --variant=minbase --include=ca-certificates bookworm "$root"
prefix=$(.venv/bin/python -c 'import sys; print(sys.base_prefix)')
tar --create --directory "$prefix" --exclude=./lib/python3.12/test --exclude=__pycache__ --exclude='*.a' . |
    tar --extract --directory "$root/usr/local"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
chroot "$root" ldconfig

stub_torch() { # stub_torch SITE: metadata of a torch that no build may touch
    mkdir -p "$1/torch" "$1/torch-$TORCH_VERSION.dist-info"
    printf 'raise ImportError("a stand-in for the vendor'"'"'s torch")\n' > "$1/torch/__init__.py"
    printf 'Metadata-Version: 2.1\nName: torch\nVersion: %s\n' "$TORCH_VERSION" \
        > "$1/torch-$TORCH_VERSION.dist-info/METADATA"
    printf 'torch/__init__.py,,\n' > "$1/torch-$TORCH_VERSION.dist-info/RECORD"
}
# The certificates of this machine: an image of the real world brings its own.
certificates=(--change "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"
    --change "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt")

import_base() { # import_base NAME PATH
    tar --create --one-file-system --directory "$root" . |
        podman import --quiet "${certificates[@]}" --change "ENV PATH=$2" --change "ENV PIP_FIND_LINKS=" \
            - "localhost/standin:$1" >/dev/null
}
standard_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
site=usr/local/lib/python3.12/site-packages
step "bases"
chroot "$root" python3.12 -m venv /opt/venv
stub_torch "$root/opt/venv/lib/python3.12/site-packages"
import_base rocm "/opt/venv/bin:$standard_path"
rm -rf "${root:?}/opt/venv"
stub_torch "$root/$site"
printf '[externally-managed]\nError=system Python\n' > "$root/usr/local/lib/python3.12/EXTERNALLY-MANAGED"
import_base cuda "$standard_path"
rm -rf "$root"

run() { # run ACCEL PROGRAM ...: without network, as the image's user
    podman run --rm --network none --entrypoint "$2" "wmbench:$1" "${@:3}"
}
declare -A sites=([rocm]=/opt/venv/lib/python3.12/site-packages [cuda]=/$site)
for accel in rocm cuda; do
    step "make image ACCEL=$accel"
    BASE_IMAGE=localhost/standin:$accel make image ACCEL="$accel" 2>&1 | tee "$work/$accel.log" |
        grep -E '^(STEP|image:|frame|built|[Ee]rror)' || { tail -40 "$work/$accel.log" >&2; exit 1; }

    step "$accel image"
    label() { podman image inspect --format "{{index .Config.Labels \"$1\"}}" "wmbench:$accel"; }
    check "label of the lock" "$(sha256sum uv.lock | cut -d' ' -f1)" "$(label wmbench.uv-lock.sha256)"
    commit=$(label org.opencontainers.image.revision)
    check "label of the commit" "known" "$(git merge-base --is-ancestor "${commit%-dirty}" HEAD && echo known)"
    check "user" 10001 "$(run "$accel" id -u)"
    check "torch" "$TORCH_VERSION ${sites[$accel]}" "$(run "$accel" python -c '
import importlib.metadata as m; t = m.distribution("torch"); print(t.version, t.locate_file(""))')"
    built=$(grep -oE '^frame sha256 [0-9a-f]+' "$work/$accel.log")
    check "frame, as the image's user" "$built" \
        "$(run "$accel" python scripts/image/render_check.py | grep -oE '^frame sha256 [0-9a-f]+')"
    check "frame, as any user" "$built" \
        "$(podman run --rm --network none --user 4321:4321 --entrypoint python "wmbench:$accel" \
            scripts/image/render_check.py | grep -oE '^frame sha256 [0-9a-f]+')"
    check "mujoco as locked" "$(sed -n '/^name = "mujoco"$/{n;s/version = "\(.*\)"/\1/p}' uv.lock)" \
        "$(run "$accel" python -c 'import mujoco; print(mujoco.__version__)')"
    check "libero without a prompt" "libero_object 10" "$(run "$accel" python -c '
from wmvla.sim.libero.assets import prepare_libero
prepare_libero()
from libero.libero import get_libero_path
from pathlib import Path
print("libero_object", len(list((Path(get_libero_path("bddl_files")) / "libero_object").glob("*.bddl"))))' </dev/null 2>/dev/null)"
    check "no results inside" "" "$(run "$accel" find results cache .git -mindepth 1 2>/dev/null)"
    check "a plan" "wmbench" "$(run "$accel" wmbench plan core --scale smoke --machine cpu >/dev/null && echo wmbench)"
done
step "done"
