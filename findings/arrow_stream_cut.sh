#!/usr/bin/env bash
# pyarrow 26.0.1, datasets 4.8.5: an Arrow stream that ends between two batches is read as whole.
#
# `datasets` keeps its rows as Arrow *streams*. A stream has an end mark, and nothing asks for it: a
# file of which a full disk, a stopped download or a killed writer left some whole batches is read
# without an error, with fewer rows. Only an end within a batch is an error. (A parquet file or an
# Arrow *file* has its table of contents at the end, so a short one is always refused.)
# What to do: compare the number of rows with one that was recorded elsewhere, or the last eight
# bytes with ff ff ff ff 00 00 00 00.
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install datasets==4.8.5 pyarrow==26.0.1 numpy==2.2.6
"$python" - <<'PYTHON'
import sys

import datasets
import pyarrow as pa

table = pa.table({"x": list(range(6))})
ends = []
with open("rows.arrow", "wb") as file:
    with pa.ipc.new_stream(file, table.schema) as writer:
        for start in (0, 2, 4):
            writer.write_table(table.slice(start, 2))
            ends.append(file.tell())
with open("rows.arrow", "rb") as file:
    whole = file.read()


def rows(read):
    try:
        return len(read())
    except pa.ArrowInvalid as error:
        return f"{type(error).__name__}: {error}"


seen = []
for size in (len(whole), *ends, ends[1] + 40):
    with open("cut.arrow", "wb") as file:
        file.write(whole[:size])
    by_arrow = rows(lambda: pa.ipc.open_stream("cut.arrow").read_all())
    by_datasets = rows(lambda: datasets.Dataset.from_file("cut.arrow"))
    print(f"the first {size} of {len(whole)} bytes: pyarrow {by_arrow}; datasets {by_datasets}")
    seen.append((by_arrow, by_datasets))
same = (
    whole[-8:] == b"\xff\xff\xff\xff\0\0\0\0"
    and seen[:4] == [(6, 6), (2, 2), (4, 4), (6, 6)]
    and all(str(each).startswith("ArrowInvalid") for each in seen[4])
)
sys.exit(0 if same else "the behaviour has changed")
PYTHON
