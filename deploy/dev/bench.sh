#!/usr/bin/env bash
# Speed of a replay of the demo's binlogs, five runs, with machine and commit; mysqlbinlog -v (if installed) beside it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
files=(fixtures/demo/binlog.0*)
echo "commit $(git rev-parse --short HEAD), $(nproc) cores, $(awk -F': ' '/model name/{print $2; exit}' /proc/cpuinfo)"
echo "$(du -cb "${files[@]}" | tail -n 1 | cut -f1) bytes of compressed binlog"
for run in 1 2 3 4 5; do
    target/release/phiwatch replay --bench "${files[@]}" 2>&1 >/dev/null | grep '^bench:'
    if [ -x "$here/mysql.sh" ]; then
        start=$(date +%s%N)
        "$here/mysql.sh" binlog -v --base64-output=decode-rows "${files[@]}" >/dev/null
        echo "mysqlbinlog -v: seconds=$(awk "BEGIN{printf \"%.3f\", ($(date +%s%N) - $start) / 1e9}")"
    fi
done
