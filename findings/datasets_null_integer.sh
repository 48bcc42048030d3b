#!/usr/bin/env bash
# datasets 4.8.5, torch 2.11.0: one null turns a batch of whole numbers into float32.
#
# An int64 column of a parquet file may hold a null (a `task_index` that nobody filled in). Read in
# torch format, a batch in which one lies comes out as float32 with NaN, although the features say
# int64, and its neighbours are rounded: 16777217 becomes 16777216. The same row in a batch without
# a null is an exact int64. No error, no warning: an embedding fails only in some batches, and an
# index beyond 2**24 finds the wrong row.
# What to do: refuse nulls when the file is opened (`table.column(name).null_count`).
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install datasets==4.8.5 torch==2.11.0 pyarrow==26.0.1 numpy==2.2.6
"$python" - <<'PYTHON'
import sys
import warnings

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import torch

warnings.simplefilter("error", UserWarning)
datasets.disable_progress_bars()
pq.write_table(pa.table({"index": pa.array([16777217, 3, None], pa.int64())}), "rows.parquet")
rows = datasets.load_dataset("parquet", data_files="rows.parquet", split="train")
rows = rows.with_format("torch")
with_null, without, alone = rows[:3]["index"], rows[:2]["index"], rows[2]["index"]
print("features:", rows.features)
print("rows 0 to 2:", with_null.dtype, with_null.tolist())
print("rows 0 to 1:", without.dtype, without.tolist())
print("row 2:", alone.dtype, alone.item())
same = (
    with_null.dtype == alone.dtype == torch.float32
    and with_null[:2].tolist() == [16777216.0, 3.0]
    and with_null.isnan().tolist() == [False, False, True]
    and without.dtype == torch.int64
    and without.tolist() == [16777217, 3]
    and bool(alone.isnan())
)
sys.exit(0 if same else "the behaviour has changed")
PYTHON
