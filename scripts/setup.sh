#!/bin/sh
# Sets up everything the suite needs: uv, Python 3.12, .venv from uv.lock, and the system libraries that render.
# Writes only below the project folder, apart from system packages and uv's and pip's ordinary caches.
set -eu

UV_VERSION=0.13.9
cd "$(dirname "$0")/.."

# A caller that forbids bytecode would make every later import compile LeRobot and transformers again (20-30 s).
unset PYTHONDONTWRITEBYTECODE
# An activated environment of somebody else must not become the target.
unset VIRTUAL_ENV CONDA_PREFIX UV_PROJECT_ENVIRONMENT
# Where the machine has certificates of its own, they count: a company's proxy signs with one of them.
[ ! -e /etc/ssl/certs/ca-certificates.crt ] || export UV_SYSTEM_CERTS=1

say() { printf 'set-up: %s\n' "$*"; }
fail() { printf 'set-up: %s\n' "$*" >&2; exit 1; }
can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

APT_UPDATED=
apt_install() {
    if [ -z "$APT_UPDATED" ]; then
        apt-get update >.tools/apt.log 2>&1 || say "apt-get update failed; trying the package lists that are here"
        APT_UPDATED=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>.tools/apt.log 2>&1
}

# Prints the interpreters on this machine, best first. A pyenv shim is listed even where it does not run.
pythons() {
    command -v python3.12 || true
    for candidate in "${HOME:-}"/.pyenv/versions/3.12*/bin/python .tools/python/cpython-3.12*/bin/python3.12; do
        [ ! -x "$candidate" ] || printf '%s\n' "$candidate"
    done
    command -v python3 || true
    [ ! -x /usr/bin/python3 ] || printf '/usr/bin/python3\n'
}

find_python312() {
    pythons | while read -r candidate; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; then
            # The real file: a pyenv shim answers differently in another folder.
            "$candidate" -c 'import sys; print(sys.executable)'
            break
        fi
    done
}

find_uv() {
    for candidate in "$(command -v uv || true)" .tools/uv/bin/uv; do
        if [ -n "$candidate" ] && "$candidate" --version >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
}

# Installs uv with any interpreter that has venv and pip; false where there is none.
install_uv() {
    pythons > .tools/pythons
    while read -r candidate; do
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            say "installing uv $UV_VERSION into .tools with $candidate"
            rm -rf .tools/uv
            "$candidate" -m venv .tools/uv || continue
            if .tools/uv/bin/python -m pip install -q --disable-pip-version-check "uv==$UV_VERSION" \
                2>.tools/uv-install.log; then
                return 0
            fi
            fail "uv $UV_VERSION could not be installed; is a package index reachable? See .tools/uv-install.log"
        fi
    done < .tools/pythons
    return 1
}

mkdir -p .tools

UV=$(find_uv)
if [ -z "$UV" ] && ! install_uv; then
    can_apt || fail "no uv and no Python with venv found; install one: apt-get install python3-venv (as root)"
    say "installing python3-venv with apt"
    apt_install python3-venv || fail "apt-get could not install python3-venv (see .tools/apt.log); install it, or uv, and try again"
    install_uv || fail "python3-venv is installed but no Python can make an environment; install uv and try again"
fi
UV=$(find_uv)
[ -n "$UV" ] || fail "uv was installed but does not run; delete .tools and try again"

PYTHON=$(find_python312)
if [ -z "$PYTHON" ]; then
    PYTHON=$("$UV" python find --no-project --system 3.12 2>/dev/null || true)
fi
if [ -z "$PYTHON" ]; then
    say "no Python 3.12 here; fetching one into .tools/python"
    UV_PYTHON_INSTALL_DIR="$PWD/.tools/python" "$UV" python install -q --no-bin 3.12 2>.tools/python-install.log ||
        fail "Python 3.12 could not be fetched (see .tools/python-install.log); install python3.12 and try again"
    PYTHON=$(find_python312)
    [ -n "$PYTHON" ] || fail "Python 3.12 was fetched into .tools/python but does not run; delete .tools and try again"
fi

REINSTALL=
# An environment that came here with its checkout, copied or moved, names the old path still. It is written anew in place: what
# is installed may not be had again offline.
if [ -e .venv/bin/activate ]; then
    "$PYTHON" scripts/relocate_environment.py || fail ".venv belongs to another checkout and cannot be changed; see above"
    # The kernel takes no space and no long path in the first line of a program; uv knows another way.
    HERE=$(pwd -P)
    case "$HERE" in *[[:space:]]*) REINSTALL=--reinstall ;; esac
    [ "${#HERE}" -le 100 ] || REINSTALL=--reinstall
fi
say "installing the locked packages into .venv with $PYTHON (about 7 GB the first time)"
# shellcheck disable=SC2086  # nothing, or one flag
"$UV" sync --frozen --quiet $REINSTALL --python "$PYTHON" ||
    fail "the locked packages could not be installed; is a package index reachable, and is there room? See above"

# Prints the Debian packages whose library cannot be loaded.
missing_libraries() {
    .venv/bin/python - <<'PYTHON'
import ctypes

NEEDED = {"libosmesa6": ("libOSMesa.so.8", "libOSMesa.so.6"), "libegl1": ("libEGL.so.1",), "libgl1": ("libGL.so.1",)}


def loads(name):
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


print(" ".join(package for package, names in NEEDED.items() if not any(map(loads, names))))
PYTHON
}

MISSING=$(missing_libraries)
if [ -n "$MISSING" ]; then
    can_apt || fail "rendering needs system libraries; as root: apt-get install $MISSING (elsewhere: Mesa's OSMesa, EGL and GL)"
    say "installing $MISSING with apt"
    # shellcheck disable=SC2086  # a list of packages
    apt_install $MISSING || fail "apt-get could not install $MISSING (see .tools/apt.log); install them by hand and try again"
    MISSING=$(missing_libraries)
    [ -z "$MISSING" ] || fail "still not loadable after apt-get: $MISSING; see 'ldconfig -p'"
fi

# What packs and fetches runs: wmbench pull and pack say so themselves where it is not there.
if can_apt; then
    for program in rsync zstd; do
        command -v "$program" >/dev/null 2>&1 || apt_install "$program" || say "$program could not be installed; going on without it"
    done
fi

say "first import (compiles bytecode once)"
.venv/bin/python -c 'import mujoco, lerobot.policies.smolvla.modeling_smolvla' ||
    fail "the installed packages do not import; delete .venv and try again"
say "done"
