#!/bin/sh
# In the image build, as root: the libraries that draw LIBERO's frames on the CPU. $MUJOCO_GL says which: osmesa or egl.
set -eu

export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y --no-install-recommends "$@"; }
pocket() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }

apt-get update
# git: provenance asks it when a checkout is mounted. g++: torch.compile and Triton compile at first use, where one asks for
# them (SmolVLA's compile_model); the suite itself compiles nothing.
install ca-certificates git g++ libegl1 libgl1

case "$MUJOCO_GL" in
osmesa)
    # Mesa 25.1 dropped OSMesa. An updated Ubuntu 24.04 has the older library in its release pocket still; it wants a
    # libglapi-mesa of the same age, which apt takes only when told.
    install libosmesa6 || install --allow-downgrades "libosmesa6/$(pocket)" "libglapi-mesa/$(pocket)" || {
        echo "image: this base has no OSMesa; build with MUJOCO_GL=egl (its frames never meet OSMesa's)" >&2
        exit 1
    }
    ;;
egl) install libegl-mesa0 libgl1-mesa-dri ;;
*)
    echo "image: MUJOCO_GL is '$MUJOCO_GL'; it must be osmesa or egl" >&2
    exit 1
    ;;
esac
apt-get clean
rm -rf /var/lib/apt/lists/*
