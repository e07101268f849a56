#!/usr/bin/env bash
# A real MySQL server on loopback, from Debian packages in a folder of its own.
#
#   mysql.sh install | start | stop | crash | status | wipe | client [ARG...] | binlog [ARG...] | print
#
# start installs what is missing, makes an empty data folder ready, and does nothing if the server runs.
# stop keeps the data, wipe drops them. crash kills the server. client is the SQL shell as root, binlog is mysqlbinlog,
# print shows version, address and places as NAME=value lines. The settings below count at the next start.
#
#   MYSQL_PORT=33097         MYSQL_DATADIR=PHIWATCH_DEV_HOME/mysql-PORT   MYSQL_SUITE=sid (which Debian release)
#   MYSQL_SERVER_ID=1        MYSQL_ROW_IMAGE=FULL|MINIMAL|NOBLOB          MYSQL_ROW_METADATA=FULL|MINIMAL
#   MYSQL_COMPRESSION=OFF|ON (binlog_transaction_compression)             MYSQL_QUERY_EVENTS=OFF|ON (statement texts)
#   MYSQL_CHECKSUM=CRC32|NONE  MYSQL_GTID=ON|OFF  MYSQL_MAX_BINLOG_SIZE=1G  MYSQL_BUFFER_POOL=256M
#   MYSQL_DURABLE=0|1 (sync every commit)                                 MYSQL_ARGS= further options, split at blanks
#
# Accounts (password = name): phi_admin may do all; phi_repl has what following the binlog needs and nothing else.
# root has no password and comes in by the Unix socket only. Never put real data into this server.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

port=${MYSQL_PORT:-33097}
data=${MYSQL_DATADIR:-$PHIWATCH_DEV_HOME/mysql-$port}
suite=${MYSQL_SUITE:-sid}
root=$PHIWATCH_DEV_HOME/root-mysql-$suite
run=$data.run
pidfile=$run/mysqld.pid
socket=$(socket_path "$run/s.sock" "mysql-$port")

install() { packages "$suite" "$root" usr/sbin/mysqld mysql-server-core mysql-client-core; }
sql() { within "$root" usr/bin/mysql --no-defaults --default-character-set=utf8mb4 -uroot -S "$socket" "$@"; }
version() { sql --batch -N -e 'select version()' 2>/dev/null; }

start() {
    local pid i fresh=0 begin=$SECONDS args durable gtid
    if pid=$(alive "$pidfile" "$data") && version >/dev/null; then
        echo "mysql $(version) on 127.0.0.1:$port, already running, pid $pid"
        return 0
    fi
    install
    make_certs
    ! answers "$port" || die "port $port is taken by another program; set MYSQL_PORT"
    mkdir -p "$run"
    args=(--no-defaults --basedir="$root/usr" --datadir="$data" --lc-messages-dir="$root/usr/share/mysql"
        --character-sets-dir="$root/usr/share/mysql/charsets" --plugin-dir="$root/usr/lib/mysql/plugin" --log-error="$run/error.log")
    [ "$(id -u)" != 0 ] || args+=(--user=root)
    if [ ! -e "$data.ready" ]; then
        fresh=1
        rm -rf "$data"
        mkdir -p "$data"
        within "$root" usr/sbin/mysqld "${args[@]}" --initialize-insecure >"$run/initialize.log" 2>&1 </dev/null || {
            tail -n 20 "$run/initialize.log" "$run/error.log" >&2
            die "mysqld --initialize-insecure"
        }
    fi
    durable=(--innodb-flush-log-at-trx-commit=2 --sync-binlog=0)
    [ "${MYSQL_DURABLE:-0}" = 0 ] || durable=(--innodb-flush-log-at-trx-commit=1 --sync-binlog=1)
    gtid=(--gtid-mode=ON --enforce-gtid-consistency=ON)
    [ "${MYSQL_GTID:-ON}" = ON ] || gtid=(--gtid-mode=OFF --enforce-gtid-consistency=OFF)
    # binlog_format is not named: ROW is the default, and naming it only earns a deprecation warning.
    # shellcheck disable=SC2086
    (daemon "$root" usr/sbin/mysqld "${args[@]}" "${gtid[@]}" "${durable[@]}" --bind-address=127.0.0.1 --port="$port" \
        --socket="$socket" --pid-file="$pidfile" --mysqlx=OFF --secure-file-priv="$run" --local-infile=ON \
        --ssl-ca="$certs/ca.pem" --ssl-cert="$certs/server-cert.pem" --ssl-key="$certs/server-key.pem" \
        --server-id="${MYSQL_SERVER_ID:-1}" --log-bin=binlog --max-binlog-size="${MYSQL_MAX_BINLOG_SIZE:-1G}" \
        --binlog-expire-logs-auto-purge=OFF --binlog-checksum="${MYSQL_CHECKSUM:-CRC32}" \
        --binlog-row-image="${MYSQL_ROW_IMAGE:-FULL}" --binlog-row-metadata="${MYSQL_ROW_METADATA:-FULL}" \
        --binlog-transaction-compression="${MYSQL_COMPRESSION:-OFF}" --binlog-rows-query-log-events="${MYSQL_QUERY_EVENTS:-OFF}" \
        --default-time-zone=+00:00 --innodb-buffer-pool-size="${MYSQL_BUFFER_POOL:-256M}" --innodb-redo-log-capacity=64M \
        --performance-schema=OFF --max-allowed-packet=1G ${MYSQL_ARGS:-} </dev/null >"$run/output.log" 2>&1 9>&-) &
    pid=$!
    for ((i = 0; ; i++)); do
        ! version >/dev/null || break
        { [ $i -lt 900 ] && kill -0 $pid 2>/dev/null; } || { tail -n 20 "$run/error.log" >&2; die "mysqld did not start"; }
        sleep 0.1
    done
    if [ $fresh = 1 ]; then
        # Kept out of the binlog: who reads from the first file on sees the workload only.
        sql <<'SQL'
SET SESSION sql_log_bin = 0;
CREATE USER phi_admin@'%' IDENTIFIED BY 'phi_admin';
GRANT ALL ON *.* TO phi_admin@'%' WITH GRANT OPTION;
CREATE USER phi_repl@'%' IDENTIFIED BY 'phi_repl';
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO phi_repl@'%';
SQL
        touch "$data.ready"
    fi
    echo "mysql $(version) on 127.0.0.1:$port, started in $((SECONDS - begin)) s, pid $(cat "$pidfile")"
}

verb=${1:-}
[ $# = 0 ] || shift
case $verb in
install) exclusive "mysql-$suite"; install ;;
start) exclusive "mysql-$suite"; start ;;
stop) stop_daemon "$pidfile" "$data"; echo "mysql on 127.0.0.1:$port stopped" ;;
crash) stop_daemon "$pidfile" "$data" KILL; echo "mysql on 127.0.0.1:$port killed" ;;
status) if pid=$(alive "$pidfile" "$data"); then echo "mysql $(version) on 127.0.0.1:$port, pid $pid"; else echo "mysql on 127.0.0.1:$port is not running"; exit 3; fi ;;
wipe) stop_daemon "$pidfile" "$data"; rm -rf "$data" "$data.ready" "$run" ;;
client) sql "$@" ;;
binlog) within "$root" usr/bin/mysqlbinlog --no-defaults "$@" ;;
print) printf '%s\n' "version=$(version)" "host=127.0.0.1" "port=$port" "socket=$socket" "datadir=$data" "rundir=$run" "ca=$certs/ca.pem" ;;
*) usage ;;
esac
