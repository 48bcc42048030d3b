#!/bin/bash
# Builds both images through `make image` on stand-in bases, and runs them: root on Debian, no image registry.
#
# The real bases are Ubuntu 24.04 with a vendor's torch, and so are the stand-ins, from Ubuntu's own packages:
# - rocm keeps torch in /opt/venv, and here it is a stub, metadata without code, which no build may touch;
# - cuda keeps torch in an externally managed system Python, and here it is this project's own, from .venv. So the real
#   suite runs in that image: simulator, policy, training, all without network.
set -euo pipefail

cd "$(dirname "$0")/.."
fail() { printf 'test-images: %s\n' "$*" >&2; exit 2; }
[ "$(id -u)" = 0 ] || fail "it makes root file systems, which takes root"
[ -x .venv/bin/hadolint ] || fail "the stand-in takes torch from .venv: make setup first"
missing=()
for program in podman buildah runc mmdebstrap; do
    command -v "$program" >/dev/null || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

STUB_VERSION=2.10.0+standin
UBUNTU=http://archive.ubuntu.com/ubuntu
# Debian has no package of Ubuntu's keys; this one is trusted by its hash.
KEYRING=pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb
KEYRING_SHA256=36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8
SYSTEM_SITE=usr/local/lib/python3.12/dist-packages
STANDARD_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

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
sed 's/^\[containers\]/&\nnetns = "none"/' "$CONTAINERS_CONF" > "$work/offline.conf"
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

step "lint"
.venv/bin/hadolint --ignore DL3008 Containerfile.rocm Containerfile.cuda

step "stand-in root file system"
root=$work/rootfs
.venv/bin/python -c 'import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])' "$UBUNTU/$KEYRING" "$work/keyring.deb"
check "Ubuntu's keys" "$KEYRING_SHA256" "$(sha256sum "$work/keyring.deb" | cut -d' ' -f1)"
dpkg-deb --extract "$work/keyring.deb" "$work/keyring"
mmdebstrap --quiet --variant=minbase --include=apt,ca-certificates,python3-pip,python3-venv \
    --keyring="$work/keyring/usr/share/keyrings/ubuntu-archive-keyring.gpg" noble "$root" \
    "deb $UBUNTU noble main universe" "deb $UBUNTU noble-updates main universe"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"

import_base() { # import_base NAME PATH TAR-ARGUMENTS ...: the root file system, and what else the arguments name
    # The certificates of this machine: an image of the real world brings its own.
    tar --create --one-file-system --directory "$root" . "${@:3}" |
        podman import --quiet --change "ENV PATH=$2" --change "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" \
            --change "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt" - "localhost/standin:$1" >/dev/null
}
step "base with this project's torch"
packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mapfile -t torch < <(.venv/bin/python -c '
import importlib.metadata, re
vendor = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")
names = {file.parts[0] for d in importlib.metadata.distributions() if vendor.fullmatch(d.name) for file in d.files}
print(*sorted(names - {".."}), sep="\n")')
# Nothing of the root file system is named without a dot first.
import_base cuda "$STANDARD_PATH" --directory "$packages" --transform "s,^[^.],$SYSTEM_SITE/&,S" "${torch[@]}"
step "base with a stub of torch"
chroot "$root" python3 -m venv /opt/venv
site=$root/opt/venv/lib/python3.12/site-packages
mkdir -p "$site/torch" "$site/torch-$STUB_VERSION.dist-info"
printf 'raise ImportError("a stand-in for the vendor'"'"'s torch")\n' > "$site/torch/__init__.py"
printf 'Metadata-Version: 2.1\nName: torch\nVersion: %s\n' "$STUB_VERSION" > "$site/torch-$STUB_VERSION.dist-info/METADATA"
printf 'torch/__init__.py,,\n' > "$site/torch-$STUB_VERSION.dist-info/RECORD"
import_base rocm "/opt/venv/bin:$STANDARD_PATH"
rm -rf "$root"

run() { # run ACCEL PROGRAM ...: without network, on a read-only image, as the image's user
    podman run --rm --network none --read-only --entrypoint "$2" "wmbench:$1" "${@:3}"
}
declare -A torch_of=([rocm]="$STUB_VERSION /opt/venv/lib/python3.12/site-packages"
    [cuda]="$(.venv/bin/python -c 'import importlib.metadata as m; print(m.version("torch"))') /$SYSTEM_SITE")
for accel in rocm cuda; do
    step "make image ACCEL=$accel"
    BASE_IMAGE=localhost/standin:$accel make image ACCEL="$accel" 2>&1 | tee "$work/$accel.log" |
        grep --line-buffered -E '^(STEP|image:|frame|torch check|built|[Ee]rror)' || { tail -40 "$work/$accel.log" >&2; exit 1; }

    step "$accel image"
    podman image ls --filter "reference=wmbench:$accel" --format 'size {{.Size}}'
    label() { podman image inspect --format "{{index .Config.Labels \"$1\"}}" "wmbench:$accel"; }
    check "label of the lock" "$(sha256sum uv.lock | cut -d' ' -f1)" "$(label wmbench.uv-lock.sha256)"
    check "label of the base" "localhost/standin:$accel" "$(label org.opencontainers.image.base.name)"
    commit=$(label org.opencontainers.image.revision)
    check "label of the commit" "known" "$(git merge-base --is-ancestor "${commit%-dirty}" HEAD && echo known)"
    check "user" 10001 "$(run "$accel" id -u)"
    check "torch" "${torch_of[$accel]}" "$(run "$accel" python -c '
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
    check "no results inside, and no cache of root's" "" "$(run "$accel" find results cache .git /tmp -mindepth 1 2>/dev/null)"
    check "a plan" "wmbench" "$(run "$accel" wmbench plan core --scale smoke --machine cpu >/dev/null && echo wmbench)"
done

step "make container-bench ACCEL=cuda SUITE=core SCALE=smoke ARMS=E0, without network"
# Elsewhere than in this checkout, whose results and cache would leave nothing to do.
place=$work/place
mkdir -p "$place/scripts"
cp Makefile "$place"
cp scripts/container.sh "$place/scripts"
CONTAINERS_CONF=$work/offline.conf HF_HOME=$work/hub HF_HUB_OFFLINE=1 \
    make --directory "$place" container-bench ACCEL=cuda SUITE=core SCALE=smoke MACHINE=cpu ARMS=E0
job=$(cd "$place/results" && ls */jobs/E0-train-s0.json)
python3 -c '
import json, sys
journal = [json.loads(line) for line in open(sys.argv[1])]
assert journal and {row["status"] for row in journal} == {"ok"}, journal
print(f"ok     episodes: {len(journal)}")' "$place/results/${job%%/*}/episodes/E0-none-s0.jsonl"
digest=$(podman image inspect --format '{{.Id}}' wmbench:cuda)
check "digest of the image" "sha256:${digest#sha256:}" \
    "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["image_digest"])' "$place/results/${job%%/*}/provenance.json")"

step "the same training by DeepSpeed, ZeRO-3, as the image's user, nothing writable but results"
python3 - "$place/results/$job" <<'PYTHON'
import json, sys
path = sys.argv[1]
job = json.load(open(path))
for key in ("checkpoints", "metrics"):
    job[key] = job[key].replace("E0-train-s0", "zero3")
json.dump({**job, "strategy": "zero3"}, open(path.replace("E0-train-s0", "zero3"), "w"))
PYTHON
chmod --recursive a+rwX "$place"
podman run --rm --network none --read-only --env TORCH_EXTENSIONS_DIR=/opt/nowhere --volume "$place/results:/opt/wmbench/results" \
    --volume "$place/cache:/opt/wmbench/cache" --entrypoint torchrun wmbench:cuda \
    --standalone --nproc_per_node 2 -m wmvla.train.main "results/${job/E0-train-s0/zero3}"
python3 - "$place/results/${job%%/*}/metrics" <<'PYTHON'
import json, sys
alone, shared = ([json.loads(line)["loss_total"] for line in open(f"{sys.argv[1]}/{name}.jsonl")] for name in ("E0-train-s0", "zero3"))
assert len(alone) == len(shared) > 1 and all(abs(a - b) < 1e-5 for a, b in zip(alone, shared)), (alone, shared)
print(f"ok     losses of ZeRO-3: {shared}")
PYTHON
step "done"
