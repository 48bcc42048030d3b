#!/bin/sh
# All default tests, as two pytest processes beside each other: one alone leaves all cores but one idle. The report of the
# first appears as it goes, that of the second behind it. Exit code 0: both passed; else that of one that did not.
set -eu
cd "$(dirname "$0")/.."

log=$(mktemp)
second=
stop() {
	trap - INT TERM EXIT
	# A group of its own: what its tests have started ends with it.
	[ -z "$second" ] || kill -TERM -- "-$second" 2>/dev/null || true
	rm -f "$log"
	exit "$1"
}
trap 'stop 130' INT TERM
trap 'stop $?' EXIT

echo "== tests/wmvla; all other tests run beside it and are shown afterwards"
# What a shell starts behind itself ignores SIGINT, and so would the commands that tests interrupt.
setsid env --default-signal=INT .venv/bin/pytest tests/ --ignore=tests/wmvla >"$log" 2>&1 &
second=$!
first_code=0 second_code=0
.venv/bin/pytest tests/wmvla || first_code=$?
echo "== all other tests"
tail -n +1 -f --pid="$second" "$log" # what there is, and what comes until that process ends
wait "$second" || second_code=$?
second=

if [ "$first_code" -ne 0 ] || [ "$second_code" -ne 0 ]; then
	echo "== failed: tests/wmvla with exit code $first_code, all other tests with exit code $second_code" >&2
	[ "$first_code" -ne 0 ] || first_code=$second_code
	exit "$first_code"
fi
