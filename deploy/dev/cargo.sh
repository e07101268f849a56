#!/usr/bin/env bash
# cargo, also where rustup put it outside the PATH of a plain shell.
set -euo pipefail
command -v cargo >/dev/null || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
command -v cargo >/dev/null || {
    echo "cargo not found: install Rust with rustup (https://rustup.rs), then run this again" >&2
    exit 1
}
exec cargo "$@"
