#!/usr/bin/env bash
# robosuite 1.4.0: importing it opens /tmp/robosuite.log, so one user stops the others.
#
# The import opens that one file for appending, whatever TMPDIR says, to note that the package has
# no `macros_private.py`. The first user's file cannot be written by the second, whose import ends
# with a PermissionError. With a `macros_private.py`, even an empty one, the file is not opened.
# But what that file sets has no effect: its names land in `robosuite`, and all modules read
# `robosuite.macros`. IMAGE_CONVENTION = "opencv" in it leaves images upside down.
# robosuite also imports termcolor, which it does not ask for: a fresh installation fails without.
# What to do: put an empty `macros_private.py` into the installed package, install termcolor, and
# set macros in the program: `import robosuite.macros; robosuite.macros.IMAGE_CONVENTION = ...`.
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install robosuite==1.4.0 mujoco==3.3.2 numpy==2.2.6
without=$("$python" -c "import robosuite" 2>&1 || true)
echo "without termcolor: ${without##*$'\n'}"
install robosuite==1.4.0 mujoco==3.3.2 numpy==2.2.6 termcolor==3.3.0
mkdir mine
cat >opened.py <<'PYTHON'
import logging

import robosuite.macros

handlers = logging.getLogger("robosuite_logs").handlers
files = [each.baseFilename for each in handlers if isinstance(each, logging.FileHandler)]
print(files, robosuite.macros.IMAGE_CONVENTION)
PYTHON
opened=$(TMPDIR=$folder/mine "$python" -W ignore opened.py 2>errors)
echo "opened with TMPDIR=$folder/mine: $opened"
echo 'IMAGE_CONVENTION = "opencv"' >venv/lib/python3.12/site-packages/robosuite/macros_private.py
private=$("$python" -W ignore opened.py 2>errors)
echo "opened with a macros_private.py that says opencv: $private"
[ "${without##*$'\n'}" = "ModuleNotFoundError: No module named 'termcolor'" ] &&
    [ "$opened; $private" = "['/tmp/robosuite.log'] opengl; [] opengl" ] ||
    { echo "the behaviour has changed"; exit 1; }
