#!/usr/bin/env bash
# Starts MySQL (127.0.0.1:33097), MariaDB (33110) and Kafka (39092), or those named: up.sh [mysql] [mariadb] [kafka]
# One line each on stdout. What is missing is fetched first; what runs already is left alone. down.sh stops them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -gt 0 ] || set -- mysql mariadb kafka
"$here/prerequisites.sh" servers
for server in "$@"; do "$here/$server.sh" start; done
