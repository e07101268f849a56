#!/usr/bin/env bash
# Prints the path of a Python that has PyMySQL, for fixtures/workload; makes its virtual environment at the first call.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

venv=$PHIWATCH_DEV_HOME/venv
if [ ! -e "$venv/.complete" ]; then
    exclusive venv
    if [ ! -e "$venv/.complete" ]; then
        rm -rf "$venv"
        { python3 -m venv "$venv" && "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-input PyMySQL==1.1.2; } \
            >"$PHIWATCH_DEV_HOME/venv.log" 2>&1 </dev/null || { tail -n 20 "$PHIWATCH_DEV_HOME/venv.log" >&2; die "cannot make $venv"; }
        touch "$venv/.complete"
    fi
fi
echo "$venv/bin/python"
