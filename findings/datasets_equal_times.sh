#!/usr/bin/env bash
# datasets 4.8.5: a replaced parquet file is served with its old rows if its time is the same.
#
# `load_dataset("parquet", data_files=...)` copies the rows once, and finds the copy again by the
# file's path and modification time. A file that was replaced under the same time (a restored
# archive, `cp -p`, `rsync -t`, a build that sets all times to one value) is not read again. No
# warning.
# What to do: read the parquet files themselves, or give each content a `cache_dir` of its own.
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install datasets==4.8.5 pyarrow==26.0.1 numpy==2.2.6
"$python" - <<'PYTHON'
import os
import sys

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

datasets.disable_progress_bars()


def rows(values, seconds):
    pq.write_table(pa.table({"x": values}), "rows.parquet")
    os.utime("rows.parquet", (seconds, seconds))
    loaded = datasets.load_dataset("parquet", data_files="rows.parquet", split="train")
    size = os.path.getsize("rows.parquet")
    print(f"in the file {str(values)[:30]} ({size} bytes), loaded {loaded['x'][:]}")
    return loaded["x"][:]


first = rows([1, 2, 3], 1_000_000_000)
replaced = rows([7, 8, 9], 1_000_000_000)
longer = rows(list(range(1000, 1100)), 1_000_000_000)
touched = rows([7, 8, 9], 1_000_000_001)
same = (first, replaced, longer, touched) == ([1, 2, 3], [1, 2, 3], [1, 2, 3], [7, 8, 9])
sys.exit(0 if same else "the behaviour has changed")
PYTHON
