#!/usr/bin/env bash
# Builds the fuzz targets and runs each for some seconds, one after the other.
#
#   run.sh [SECONDS] [TARGET...]     default: 60 seconds, every target; 0 seconds = the seeds only
#   FUZZ_JOBS=2 run.sh ...           two at a time
#
# Works with the pinned stable toolchain: the coverage that libFuzzer needs is LLVM's own pass, and
# the code under test has no unsafe of its own that a sanitizer would have to watch. It needs a C++
# compiler for libFuzzer itself (make fuzz installs one where it is missing).
#
# What a run finds interesting is kept in found/TARGET and used by the next; an input that crashes, hangs or takes too
# much memory is kept in artifacts/TARGET and ends the script with exit 1 after the other targets had their turn.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
seconds=${1:-60}
case $seconds in '' | *[!0-9]*) echo "usage: run.sh [SECONDS] [TARGET...]" >&2 && exit 2 ;; esac
shift || true
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    for file in fuzz_targets/*.rs; do
        file=${file##*/}
        targets+=("${file%.rs}")
    done
fi

cargo=../deploy/dev/cargo.sh
PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
host=$(rustc -vV | sed -n 's/^host: //p')
pass="-Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    pass+=" -Cllvm-args=-sanitizer-coverage-$option"
done
# With --target the flags are for the targets only, not for build scripts.
RUSTFLAGS="${RUSTFLAGS:-} $pass" $cargo build --release --quiet --target "$host" "${targets[@]/#/--bin=}"
build="${CARGO_TARGET_DIR:-target}/$host/release"

# Runs one target; its words come out together.
run() {
    local target=$1 bytes_max limit log
    mkdir -p "found/$target" "artifacts/$target"
    # Whole files and states, single values elsewhere.
    case $target in
    events | shop | dump) bytes_max=16384 ;;
    checkpoint) bytes_max=65536 ;;
    *) bytes_max=4096 ;;
    esac
    limit="-max_total_time=$seconds"
    [ "$seconds" != 0 ] || limit="-runs=0"
    log="artifacts/$target.log"
    rm -f "artifacts/$target.failed"
    if "$build/$target" "found/$target" "corpus/$target" "$limit" -max_len="$bytes_max" -timeout=10 \
        -rss_limit_mb=1024 -artifact_prefix="artifacts/$target/" -print_final_stats=1 >"$log" 2>&1; then
        printf 'fuzz: %s for %s s\n%s\n' "$target" "$seconds" \
            "$(grep -E '^(Done|stat::(number_of_executed_units|peak_rss_mb))' "$log" | sed 's/^/  /')"
    else
        touch "artifacts/$target.failed"
        printf 'fuzz: %s failed\n%s\n' "$target" "$(grep -vE '^#[0-9]+' "$log" | tail -n 40 | sed 's/^/  /')"
    fi
}

for target in "${targets[@]}"; do
    while [ "$(jobs -pr | wc -l)" -ge "${FUZZ_JOBS:-1}" ]; do wait -n; done
    run "$target" &
done
wait
failed=()
for target in "${targets[@]}"; do
    [ ! -e "artifacts/$target.failed" ] || failed+=("$target")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "fuzz: failed: ${failed[*]}; inputs are in fuzz/artifacts" >&2
    echo "hint: run one again with: $build/TARGET fuzz/artifacts/TARGET/FILE" >&2
    exit 1
fi
