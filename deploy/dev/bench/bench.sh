#!/usr/bin/env bash
# Builds phiwatch and everyone it is measured against, then measures: bench.sh (make bench; settings at the top of bench.py)
#
# Ports of its own: MYSQL_PORT=33297, KAFKA_PORT=39292. Everything it downloads, records and writes is under
# PHIWATCH_DEV_HOME/bench: about 3 GB at SIZE 1, and 10 GB more for a moment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../lib.sh
../prerequisites.sh build servers bench
../mysql.sh install
../kafka.sh install
make_certs
../cargo.sh build --release --quiet --manifest-path ../../../Cargo.toml -p phiwatch
../cargo.sh build --release --quiet --locked --manifest-path peers-rust/Cargo.toml

java=$PHIWATCH_DEV_HOME/bench/peers-java
mkdir -p "$java"
if [ peers-java/pom.xml -nt "$java/.complete" ] || [ peers-java/Peers.java -nt "$java/.complete" ]; then
    rm -rf "$java/lib"
    mvn -q -B -f peers-java/pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$java/lib" </dev/null
    javac -cp "$java/lib/*" -d "$java/classes" peers-java/Peers.java
    touch "$java/.complete"
fi
# Debian 12's Go is too old for it; without a newer one this peer is left out.
(cd peers-go && go build -o "$PHIWATCH_DEV_HOME/bench/peer-go" .) || say "go-mysql is left out: it needs Go 1.25"

exec python3 bench.py
