#!/usr/bin/env bash
# A real MariaDB server on loopback, from Debian packages in a folder of its own.
#
#   mariadb.sh install | start | stop | crash | status | wipe | client [ARG...] | binlog [ARG...] | print
#
# The verbs mean what they mean in mysql.sh. The settings below count at the next start.
#
#   MARIADB_SUITE=bookworm (10.11; sid has 11.8)
#   MARIADB_PORT=33110 (33118 for other suites)              MARIADB_DATADIR=PHIWATCH_DEV_HOME/mariadb-PORT
#   MARIADB_SERVER_ID=1      MARIADB_ROW_IMAGE=FULL|MINIMAL|NOBLOB (11.x: FULL_NODUP)
#   MARIADB_ROW_METADATA=FULL|MINIMAL|NO_LOG                 MARIADB_COMPRESSION=OFF|ON (log_bin_compress)
#   MARIADB_QUERY_EVENTS=OFF|ON (annotate rows)              MARIADB_CHECKSUM=CRC32|NONE
#   MARIADB_MAX_BINLOG_SIZE=1G  MARIADB_BUFFER_POOL=256M     MARIADB_DURABLE=0|1 (sync every commit)
#   MARIADB_ARGS= further options, split at blanks
#
# Accounts (password = name): phi_admin may do all; phi_repl has what following the binlog needs and nothing else.
# root has no password and comes in by the Unix socket only. Never put real data into this server.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

suite=${MARIADB_SUITE:-bookworm}
case $suite in bookworm) port=${MARIADB_PORT:-33110} ;; *) port=${MARIADB_PORT:-33118} ;; esac
data=${MARIADB_DATADIR:-$PHIWATCH_DEV_HOME/mariadb-$port}
root=$PHIWATCH_DEV_HOME/root-mariadb-$suite
run=$data.run
pidfile=$run/mariadbd.pid
socket=$(socket_path "$run/s.sock" "mariadb-$port")

install() { packages "$suite" "$root" usr/sbin/mariadbd mariadb-server-core mariadb-client-core mariadb-client; }
# The shell takes its character set from the locale unless told.
sql() { within "$root" usr/bin/mariadb --no-defaults --default-character-set=utf8mb4 -uroot -S "$socket" "$@"; }
version() { sql --batch -N -e 'select version()' 2>/dev/null; }

# What mariadb-install-db does. That is a shell script which starts the server by its plain path, past our loader.
bootstrap() {
    local share=$1 prefix=mariadb file
    shift
    [ -e "$share/mariadb_system_tables.sql" ] || prefix=mysql
    mkdir -p "$data/mysql"
    {
        printf '%s\n' 'create database if not exists mysql;' 'use mysql;' 'set @auth_root_socket=NULL;' 'set @skip_auth_anonymous=1;'
        for file in "${prefix}_system_tables" "${prefix}_performance_tables" "${prefix}_system_tables_data" maria_add_gis_sp_bootstrap "${prefix}_sys_schema"; do
            [ ! -e "$share/$file.sql" ] || cat "$share/$file.sql"
        done
    } | within "$root" usr/sbin/mariadbd "$@" --bootstrap --enforce-storage-engine="" --log-warnings=0 --max-allowed-packet=8M --net-buffer-length=16K \
        >"$run/bootstrap.log" 2>&1 || { tail -n 20 "$run/bootstrap.log" "$run/error.log" >&2; die "mariadbd --bootstrap"; }
}

start() {
    local pid i fresh=0 begin=$SECONDS args durable share plugins
    if pid=$(alive "$pidfile" "$data") && version >/dev/null; then
        echo "mariadb $(version) on 127.0.0.1:$port, already running, pid $pid"
        return 0
    fi
    install
    make_certs
    ! answers "$port" || die "port $port is taken by another program; set MARIADB_PORT"
    mkdir -p "$run"
    share=$root/usr/share/mariadb
    [ -d "$share" ] || share=$root/usr/share/mysql # until 10.11
    plugins=$root/usr/lib/mariadb/plugin
    [ -d "$plugins" ] || plugins=$root/usr/lib/mysql/plugin
    args=(--no-defaults --basedir="$root/usr" --datadir="$data" --lc-messages-dir="$share"
        --character-sets-dir="$share/charsets" --plugin-dir="$plugins" --log-error="$run/error.log")
    [ "$(id -u)" != 0 ] || args+=(--user=root)
    if [ ! -e "$data.ready" ]; then
        fresh=1
        rm -rf "$data"
        mkdir -p "$data"
        bootstrap "$share" "${args[@]}"
    fi
    durable=(--innodb-flush-log-at-trx-commit=2 --sync-binlog=0)
    [ "${MARIADB_DURABLE:-0}" = 0 ] || durable=(--innodb-flush-log-at-trx-commit=1 --sync-binlog=1)
    # binlog_format is named: the default here is MIXED.
    # shellcheck disable=SC2086
    (daemon "$root" usr/sbin/mariadbd "${args[@]}" "${durable[@]}" --bind-address=127.0.0.1 --port="$port" \
        --socket="$socket" --pid-file="$pidfile" --secure-file-priv="$run" --local-infile=ON \
        --ssl-ca="$certs/ca.pem" --ssl-cert="$certs/server-cert.pem" --ssl-key="$certs/server-key.pem" \
        --server-id="${MARIADB_SERVER_ID:-1}" --log-bin="$data/binlog" --max-binlog-size="${MARIADB_MAX_BINLOG_SIZE:-1G}" \
        --expire-logs-days=0 --binlog-format=ROW --binlog-checksum="${MARIADB_CHECKSUM:-CRC32}" \
        --binlog-row-image="${MARIADB_ROW_IMAGE:-FULL}" --binlog-row-metadata="${MARIADB_ROW_METADATA:-FULL}" \
        --log-bin-compress="${MARIADB_COMPRESSION:-OFF}" --binlog-annotate-row-events="${MARIADB_QUERY_EVENTS:-OFF}" \
        --gtid-strict-mode=ON --gtid-domain-id=0 --default-time-zone=+00:00 --character-set-server=utf8mb4 \
        --innodb-buffer-pool-size="${MARIADB_BUFFER_POOL:-256M}" --max-allowed-packet=1G ${MARIADB_ARGS:-} \
        </dev/null >"$run/output.log" 2>&1 9>&-) &
    pid=$!
    for ((i = 0; ; i++)); do
        ! version >/dev/null || break
        { [ $i -lt 900 ] && kill -0 $pid 2>/dev/null; } || { tail -n 20 "$run/error.log" >&2; die "mariadbd did not start"; }
        sleep 0.1
    done
    if [ $fresh = 1 ]; then
        # Kept out of the binlog: who reads from the first file on sees the workload only.
        sql <<'SQL'
SET SESSION sql_log_bin = 0;
CREATE USER phi_admin@'%' IDENTIFIED BY 'phi_admin';
GRANT ALL ON *.* TO phi_admin@'%' WITH GRANT OPTION;
CREATE USER phi_repl@'%' IDENTIFIED BY 'phi_repl';
GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO phi_repl@'%';
SQL
        touch "$data.ready"
    fi
    echo "mariadb $(version) on 127.0.0.1:$port, started in $((SECONDS - begin)) s, pid $(cat "$pidfile")"
}

verb=${1:-}
[ $# = 0 ] || shift
case $verb in
install) exclusive "mariadb-$suite"; install ;;
start) exclusive "mariadb-$suite"; start ;;
stop) stop_daemon "$pidfile" "$data"; echo "mariadb on 127.0.0.1:$port stopped" ;;
crash) stop_daemon "$pidfile" "$data" KILL; echo "mariadb on 127.0.0.1:$port killed" ;;
status) if pid=$(alive "$pidfile" "$data"); then echo "mariadb $(version) on 127.0.0.1:$port, pid $pid"; else echo "mariadb on 127.0.0.1:$port is not running"; exit 3; fi ;;
wipe) stop_daemon "$pidfile" "$data"; rm -rf "$data" "$data.ready" "$run" ;;
client) sql "$@" ;;
binlog) within "$root" usr/bin/mariadb-binlog --no-defaults "$@" ;;
print) printf '%s\n' "version=$(version)" "host=127.0.0.1" "port=$port" "socket=$socket" "datadir=$data" "rundir=$run" "ca=$certs/ca.pem" ;;
*) usage ;;
esac
