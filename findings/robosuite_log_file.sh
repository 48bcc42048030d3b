#!/usr/bin/env bash
# robosuite 1.4.0: importing it opens /tmp/robosuite.log, so one user of a computer stops the others.
#
# The import opens that one file for appending, whatever TMPDIR says. The first user's file cannot
# be written by the second, and their import ends with a PermissionError. With robosuite's own
# settings only a file inside the installed package (`macros_private.py`) switches that off.
# robosuite also imports termcolor, which it does not ask for: a fresh installation fails without.
# What to do: before the import, `import robosuite.macros` is no way out (it imports robosuite
# first); make `logging.FileHandler` refuse that path, or write `macros_private.py` with
# `FILE_LOGGING_LEVEL = None`.
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install robosuite==1.4.0 mujoco==3.3.2 numpy==2.2.6
without=$("$python" -c "import robosuite" 2>&1 || true)
echo "without termcolor: ${without##*$'\n'}"
install robosuite==1.4.0 mujoco==3.3.2 numpy==2.2.6 termcolor==3.3.0
mkdir mine
cat >opened.py <<'PYTHON'
import logging

import robosuite  # noqa: F401

handlers = logging.getLogger("robosuite_logs").handlers
print(*[each.baseFilename for each in handlers if isinstance(each, logging.FileHandler)])
PYTHON
opened=$(TMPDIR=$folder/mine "$python" -W ignore opened.py 2>errors)
echo "opened with TMPDIR=$folder/mine: $opened"
echo "FILE_LOGGING_LEVEL = None" >venv/lib/python3.12/site-packages/robosuite/macros_private.py
private=$("$python" -W ignore opened.py 2>errors)
echo "opened with a macros_private.py that says None: $private"
[ "${without##*$'\n'}" = "ModuleNotFoundError: No module named 'termcolor'" ] &&
    [ "$opened $private" = "/tmp/robosuite.log " ] || { echo "the behaviour has changed"; exit 1; }
