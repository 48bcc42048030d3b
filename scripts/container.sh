#!/bin/sh
# container.sh build|bench|doctor|throughput rocm|cuda [arguments ...]: what `make image` and `make container-...` do.
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

# Prints the first of these programs that runs; some machines have a docker that only says it cannot.
first_working() {
    for program in "$@"; do
        if command -v "$program" >/dev/null 2>&1 && "$program" info >/dev/null 2>&1; then
            printf '%s\n' "$program"
            return
        fi
    done
}

image=wmbench:$accel

build() {
    builder=$(first_working podman docker buildah)
    [ -n "$builder" ] || fail "no working podman, docker or buildah here; install one of them to build the image"
    command="build"
    case "$builder" in
    # SHELL and pipefail are lost in the OCI format.
    podman) command="build --format docker" ;;
    buildah) command="bud --format docker --layers" ;;
    esac
    commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
    [ -z "$(git status --porcelain 2>/dev/null)" ] || commit=$commit-dirty
    lock=$(sha256sum uv.lock | cut -d' ' -f1)
    # shellcheck disable=SC2086  # words on purpose
    "$builder" $command --file "Containerfile.$accel" --tag "$image" \
        ${BASE_IMAGE:+--build-arg "BASE_IMAGE=$BASE_IMAGE"} ${MUJOCO_GL:+--build-arg "MUJOCO_GL=$MUJOCO_GL"} \
        --build-arg "COMMIT=$commit" --build-arg "LOCK_SHA256=$lock" .
    printf 'built %s with %s\n' "$image" "$builder"
}

# Runs the image: run_image ENTRYPOINT ARGUMENTS ...
run_image() {
    entrypoint=$1
    shift
    runner=$(first_working podman docker)
    [ -n "$runner" ] || fail "no working podman or docker here; install one of them to run the image"
    "$runner" image inspect "$image" >/dev/null 2>&1 || fail "there is no image $image; make image ACCEL=$accel first"
    case "$accel-$runner" in
    rocm-*) devices="--device /dev/kfd --device /dev/dri --group-add video" ;;
    cuda-podman) devices="--device nvidia.com/gpu=all" ;;
    cuda-docker) devices="--gpus all" ;;
    esac
    user="--user $(id -u):$(id -g)"
    if [ "$runner" = podman ] && [ "$(id -u)" != 0 ]; then
        user="--userns keep-id $user"
    fi
    mkdir -p results cache
    # shellcheck disable=SC2086  # words on purpose
    exec "$runner" run --rm --ipc host --env HOME=/tmp ${PYTEST_ADDOPTS:+--env PYTEST_ADDOPTS} $devices $user \
        --volume "$PWD/results:/opt/wmbench/results" --volume "$PWD/cache:/opt/wmbench/cache" \
        --entrypoint "$entrypoint" "$image" "$@"
}

case "$task" in
build) build ;;
bench) run_image wmbench run "$@" ;;
doctor) run_image wmbench doctor ;;
throughput) run_image pytest suites/ --suite throughput -s ;;
*) fail "unknown task '$task'; it is build, bench, doctor or throughput" ;;
esac
