#!/usr/bin/env bash
# pyarrow 26.0.1: importing it starts a thread, whichever memory pool is chosen.
#
# The library holds a copy of jemalloc that starts its background thread when it is loaded, also if
# Arrow then allocates from another pool: ARROW_DEFAULT_MEMORY_POOL changes nothing. So whoever
# imports `datasets` or LeRobot has two threads before the first line of work, and Python 3.12 warns
# at every fork. What to do before a process is forked: JE_ARROW_MALLOC_CONF=background_thread:false
# in the environment before the import.
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install pyarrow==26.0.1
cat >threads.py <<'PYTHON'
import os
import sys
from pathlib import Path

if "pyarrow" in sys.argv:
    import pyarrow
threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
print(len(threads), *("jemalloc" for name in threads if name.startswith("jemalloc")))
PYTHON
without=$("$python" threads.py)
plain=$("$python" threads.py pyarrow)
system=$(ARROW_DEFAULT_MEMORY_POOL=system "$python" threads.py pyarrow)
switched_off=$(JE_ARROW_MALLOC_CONF=background_thread:false "$python" threads.py pyarrow)
echo "threads without pyarrow: $without"
echo "threads with it: $plain"
echo "threads with it and ARROW_DEFAULT_MEMORY_POOL=system: $system"
echo "threads with it and JE_ARROW_MALLOC_CONF=background_thread:false: $switched_off"
[ "$without,$plain,$system,$switched_off" = "1,2 jemalloc,2 jemalloc,1" ] || {
    echo "the behaviour has changed"
    exit 1
}
