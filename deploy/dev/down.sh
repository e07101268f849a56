#!/usr/bin/env bash
# Stops what up.sh started and keeps the data: down.sh [mysql] [mariadb] [kafka]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -gt 0 ] || set -- kafka mariadb mysql
for server in "$@"; do "$here/$server.sh" stop; done
