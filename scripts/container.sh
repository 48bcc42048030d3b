#!/bin/sh
# container.sh build|bench|doctor|throughput|sif rocm|cuda [arguments ...]: what `make image`, `make container-...`
# and `make sif` do.
set -eu

cd "$(dirname "$0")/.."
fail() { printf '%s\n' "$*" >&2; exit 2; }

task=$1 accel=$2
shift 2
case "$accel" in
rocm | cuda) ;;
"") fail "ACCEL is missing; give ACCEL=rocm or ACCEL=cuda" ;;
*) fail "unknown ACCEL '$accel'; give ACCEL=rocm or ACCEL=cuda" ;;
esac

image=wmbench:$accel

# Sets $engine to the first of these programs that works; ends in one line where none does, with what a broken one said:
# some machines have a docker whose service is not there. find_engine NAMES PURPOSE PROGRAM ...
find_engine() {
    names=$1 purpose=$2 broken=
    shift 2
    for engine in "$@"; do
        command -v "$engine" >/dev/null 2>&1 || continue
        if reason=$("$engine" info 2>&1 >/dev/null); then
            return
        fi
        broken="$broken; $engine is here and does not work: ${reason%%
*}"
    done
    fail "no working $names here; install one of them to $purpose$broken"
}

build() {
    find_engine "podman, docker or buildah" "build the image" podman docker buildah
    command="build"
    case "$engine" in
    # SHELL and pipefail are lost in the OCI format.
    podman) command="build --format docker" ;;
    buildah) command="bud --format docker --layers" ;;
    esac
    commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
    [ -z "$(git status --porcelain 2>/dev/null)" ] || commit=$commit-dirty
    lock=$(sha256sum uv.lock | cut -d' ' -f1)
    # shellcheck disable=SC2086  # words on purpose
    "$engine" $command --file "Containerfile.$accel" --tag "$image" \
        ${BASE_IMAGE:+--build-arg "BASE_IMAGE=$BASE_IMAGE"} ${MUJOCO_GL:+--build-arg "MUJOCO_GL=$MUJOCO_GL"} \
        --build-arg "COMMIT=$commit" --build-arg "LOCK_SHA256=$lock" .
    printf 'built %s with %s\n' "$image" "$engine"
}

need_image() {
    "$engine" inspect --type image "$image" >/dev/null 2>&1 || fail "image $image does not exist; make image ACCEL=$accel first"
}

# Sets $devices to the options that hand on the GPUs; without that vendor's driver none, and the run is one on the CPU.
find_devices() {
    devices=
    case "$accel" in
    rocm) driver=/dev/kfd vendor=AMD ;;
    cuda) driver=/dev/nvidiactl vendor=NVIDIA ;;
    esac
    if [ ! -e "$driver" ]; then
        printf 'no %s GPU here (there is no %s): what follows runs on the CPU\n' "$vendor" "$driver" >&2
        return
    fi
    case "$accel-$engine" in
    cuda-podman) devices="--device nvidia.com/gpu=all" ;;
    cuda-docker) devices="--gpus all" ;;
    rocm-*)
        devices="--device /dev/kfd --device /dev/dri"
        if [ "$engine" = podman ] && [ "$(id -u)" != 0 ]; then
            devices="$devices --group-add keep-groups"
        else
            # By number: the groups that own the devices are the host's, whatever the image calls them.
            for group in $(stat -c %g /dev/kfd /dev/dri/render* | sort -u); do
                devices="$devices --group-add $group"
            done
        fi
        ;;
    esac
}

# Runs the image: run_image ENTRYPOINT ARGUMENTS ...
run_image() {
    entrypoint=$1
    shift
    find_engine "podman or docker" "run the image" podman docker
    need_image
    find_devices
    user="--user $(id -u):$(id -g)"
    if [ "$engine" = podman ] && [ "$(id -u)" != 0 ]; then
        user="--userns keep-id $user"
    fi
    # What the hub gave to this user before is not fetched again. HF_LEROBOT_HOME is inside it unless it is set.
    hub=${HF_HOME:-${XDG_CACHE_HOME:-${HOME:-$PWD/cache}/.cache}/huggingface}
    datasets=${HF_LEROBOT_HOME:-$hub/lerobot}
    mkdir -p results cache "$hub" "$datasets"
    passed=
    for name in PYTEST_ADDOPTS HF_HUB_OFFLINE HF_ENDPOINT HF_TOKEN WANDB_API_KEY WANDB_MODE; do
        if printenv "$name" >/dev/null; then passed="$passed --env $name"; fi
    done
    # An image cannot read its own digest; the run's provenance names it. Docker says sha256: before it, podman does not.
    digest=$("$engine" image inspect --format '{{.Id}}' "$image")
    passed="$passed --env WMBENCH_IMAGE_DIGEST=${digest:+sha256:${digest#sha256:}}"
    # SELinux would forbid the folders; relabelling the user's own is worse than not asking it.
    # shellcheck disable=SC2086  # words on purpose
    exec "$engine" run --rm --ipc host --security-opt label=disable --env HOME=/tmp $passed $devices $user \
        --volume "$PWD/results:/opt/wmbench/results" --volume "$PWD/cache:/opt/wmbench/cache" \
        --volume "$hub:/hub" --env HF_HOME=/hub --volume "$datasets:/datasets" --env HF_LEROBOT_HOME=/datasets \
        --entrypoint "$entrypoint" "$image" "$@"
}

# The image as one file for Apptainer, wmbench-ACCEL.sif.
sif() {
    command -v apptainer >/dev/null 2>&1 || fail "apptainer is not installed; install it to make a SIF (https://apptainer.org)"
    find_engine "podman, docker or buildah" "read the image" podman docker buildah
    need_image
    work=$(mktemp -d "${TMPDIR:-/var/tmp}/wmbench-sif.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' HUP INT TERM
    # Not oci-archive, whose layers podman and buildah would compress first, for the SIF to unpack again.
    case "$engine" in
    docker) docker save --output "$work/image.tar" "$image" ;;
    *) "$engine" push --quiet "$image" "docker-archive:$work/image.tar" ;;
    esac
    # Five times as fast as gzip, and no larger; a mksquashfs without zstd takes its own default.
    if mksquashfs -help 2>&1 | grep -q zstd; then
        set -- --mksquashfs-args "-comp zstd -Xcompression-level 1"
    fi
    APPTAINER_TMPDIR=$work apptainer build --force "$@" "$work/image.sif" "docker-archive:$work/image.tar"
    mv "$work/image.sif" "wmbench-$accel.sif"
    printf 'made wmbench-%s.sif\n' "$accel"
}

case "$task" in
build) build ;;
bench) run_image wmbench run "$@" ;;
doctor) run_image wmbench doctor ;;
throughput) run_image pytest suites/ --suite throughput -s ;;
sif) sif ;;
*) fail "unknown task '$task'; it is build, bench, doctor, throughput or sif" ;;
esac
