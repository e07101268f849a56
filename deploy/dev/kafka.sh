#!/usr/bin/env bash
# A real Apache Kafka broker (one node, KRaft) on loopback, from the jars that Maven brings.
#
#   kafka.sh install | start | stop | crash | restart | status | wipe
#   kafka.sh topic NAME [PARTITIONS]     make a topic, if it is not there
#   kafka.sh consume NAME [ARG...]       print a topic from its beginning with keys and headers, until stopped
#   kafka.sh cli CLASS [ARG...]          any class of Kafka's tools
#
#   KAFKA_PORT=39092 (PORT+1 is the controller's)   KAFKA_DATADIR=PHIWATCH_DEV_HOME/kafka-PORT
#   KAFKA_VERSION=4.3.1   KAFKA_HEAP=384m   JAVA=java (17 or newer)   KAFKA_EXTRA="key=value;key=value" for the broker
#   KAFKA_SECURE=1   SASL_SSL with SCRAM-SHA-512 (and PLAIN, for old librdkafka) and ACLs; chosen at a DATADIR's first start
#
# A secured broker has three users with the password of KAFKA_PASSWORD (default loopback-only): admin may do all,
# phiwatch may write to topics that begin with "phiwatch", soc may read those as a group that begins with "soc".
# DATADIR/{admin,phiwatch,soc}.conf are their settings for librdkafka, .properties for Java.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

port=${KAFKA_PORT:-39092}
controller=$((port + 1))
version=${KAFKA_VERSION:-4.3.1}
lib=$PHIWATCH_DEV_HOME/kafka-lib-$version
data=${KAFKA_DATADIR:-$PHIWATCH_DEV_HOME/kafka-$port}
pidfile=$data/kafka.pid
java=${JAVA:-java}
password=${KAFKA_PASSWORD:-loopback-only}
users=(admin phiwatch soc)

# Kafka's tools are short-lived: a cheap virtual machine.
tool() {
    "$java" -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -Dlog4j2.configurationFile="file:$data/log4j2-tools.yaml" -cp "$lib/*" "$@"
}

install() {
    [ ! -e "$lib/.complete" ] || return 0
    command -v "$java" >/dev/null && command -v mvn >/dev/null || die "needs Java 17 and Maven; run deploy/dev/prerequisites.sh servers"
    local work begin=$SECONDS artifact
    work=$(mktemp -d)
    {
        echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        echo '<groupId>dev</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging><dependencies>'
        # Without the last one the broker is silent.
        for artifact in "org.apache.kafka kafka_2.13 $version" "org.apache.kafka kafka-tools $version" "org.apache.logging.log4j log4j-slf4j-impl 2.25.4"; do
            # shellcheck disable=SC2086
            printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n' $artifact
        done
        echo '</dependencies></project>'
    } >"$work/pom.xml"
    say "fetching Kafka $version"
    rm -rf "$lib"
    mkdir -p "$lib"
    (cd "$work" && mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$lib" </dev/null >"$PHIWATCH_DEV_HOME/kafka-fetch.log" 2>&1) || {
        tail -n 20 "$PHIWATCH_DEV_HOME/kafka-fetch.log" >&2
        die "Maven could not bring Kafka $version"
    }
    rm -rf "$work"
    touch "$lib/.complete"
    say "fetched $(find "$lib" -name '*.jar' | wc -l) jars in $((SECONDS - begin)) s"
}

secure() { cat "$data/secure"; }

client_files() {
    local user
    for user in "${users[@]}"; do
        cat >"$data/$user.conf" <<CONF
bootstrap.servers=127.0.0.1:$port
security.protocol=SASL_SSL
sasl.mechanisms=SCRAM-SHA-512
sasl.username=$user
sasl.password=$password
ssl.ca.location=$certs/ca.pem
CONF
        cat >"$data/$user.properties" <<CONF
bootstrap.servers=127.0.0.1:$port
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="$user" password="$password";
ssl.truststore.type=PEM
ssl.truststore.location=$certs/ca.pem
CONF
    done
}

configure() {
    local scram='org.apache.kafka.common.security.scram.ScramLoginModule' plain='org.apache.kafka.common.security.plain.PlainLoginModule' user plain_users=''
    umask 077
    mkdir -p "$data"
    [ -e "$data/secure" ] || echo "${KAFKA_SECURE:-0}" >"$data/secure"
    cat >"$data/log4j2.yaml" <<'CONF'
Configuration:
  Appenders: {Console: {name: out, PatternLayout: {pattern: "[%d] %p %m (%c)%n"}}}
  Loggers: {Root: {level: INFO, AppenderRef: {ref: out}}}
CONF
    sed 's/INFO/WARN/; s/name: out,/name: out, target: SYSTEM_ERR,/' "$data/log4j2.yaml" >"$data/log4j2-tools.yaml"
    cat >"$data/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
log.dirs=$data/logs
num.partitions=3
log.retention.hours=24
log.segment.bytes=67108864
log.cleaner.dedupe.buffer.size=16777216
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=2
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
background.threads=2
CONF
    if [ "$(secure)" = 1 ]; then
        make_certs
        client_files
        for user in "${users[@]}"; do plain_users+=" user_$user=\"$password\""; done
        cat >>"$data/server.properties" <<CONF
listeners=SASL_SSL://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=SASL_SSL://127.0.0.1:$port
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:SASL_PLAINTEXT
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
sasl.mechanism.controller.protocol=PLAIN
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=$scram required username="admin" password="$password";
listener.name.sasl_ssl.plain.sasl.jaas.config=$plain required$plain_users;
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config=$plain required username="admin" password="$password" user_admin="$password";
ssl.keystore.type=PEM
ssl.keystore.location=$certs/server-all.pem
ssl.truststore.type=PEM
ssl.truststore.location=$certs/ca.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin
allow.everyone.if.no.acl.found=false
auto.create.topics.enable=false
CONF
    else
        cat >>"$data/server.properties" <<CONF
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
CONF
        echo "bootstrap.servers=127.0.0.1:$port" | tee "$data/admin.conf" >"$data/admin.properties"
    fi
    [ -z "${KAFKA_EXTRA:-}" ] || tr ';' '\n' <<<"$KAFKA_EXTRA" >>"$data/server.properties"
    [ ! -e "$data/logs/meta.properties" ] || return 0
    local accounts=()
    if [ "$(secure)" = 1 ]; then
        for user in "${users[@]}"; do accounts+=(--add-scram "SCRAM-SHA-512=[name=$user,password=$password]"); done
    fi
    tool kafka.tools.StorageTool format -t "$(head -c16 /dev/urandom | base64 | tr '+/' 'AB' | cut -c1-22)" -c "$data/server.properties" "${accounts[@]}" \
        >"$data/format.log" 2>&1 || { cat "$data/format.log" >&2; die "cannot format the storage"; }
}

grant() { # once per data folder
    [ "$(secure)" = 1 ] && [ ! -e "$data/granted" ] || return 0
    local add=(org.apache.kafka.tools.AclCommand --bootstrap-server "127.0.0.1:$port" --command-config "$data/admin.properties" --add --resource-pattern-type prefixed)
    tool "${add[@]}" --allow-principal User:phiwatch --producer --topic phiwatch --transactional-id phiwatch >"$data/grant.log" 2>&1
    tool "${add[@]}" --allow-principal User:soc --consumer --topic phiwatch --group soc >>"$data/grant.log" 2>&1
    touch "$data/granted"
}

start() {
    local pid i begin=$SECONDS
    if pid=$(alive "$pidfile" "$data") && answers "$port"; then
        echo "kafka $version on 127.0.0.1:$port, already running, pid $pid"
        return 0
    fi
    for ((i = 0; i < 25; i++)); do answers "$port" || break; sleep 0.2; done # a killed broker's port answers a moment longer
    ! answers "$port" || die "port $port is taken by another program; set KAFKA_PORT"
    install
    configure
    (exec setsid "$java" -Xms64m -Xmx"${KAFKA_HEAP:-384m}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true \
        -Dlog4j2.configurationFile="file:$data/log4j2.yaml" -cp "$lib/*" kafka.Kafka "$data/server.properties" \
        >"$data/kafka.log" 2>&1 </dev/null 9>&-) &
    pid=$!
    echo $pid >"$pidfile"
    for ((i = 0; ; i++)); do
        ! { grep -q 'Kafka Server started' "$data/kafka.log" 2>/dev/null && answers "$port"; } || break
        { [ $i -lt 600 ] && kill -0 $pid 2>/dev/null; } || { tail -n 20 "$data/kafka.log" >&2; die "the broker did not start"; }
        sleep 0.2
    done
    grant
    echo "kafka $version on 127.0.0.1:$port, started in $((SECONDS - begin)) s, pid $pid"
}

verb=${1:-}
[ $# = 0 ] || shift
case $verb in
install) exclusive kafka; install ;;
start) exclusive kafka; start ;;
stop) stop_daemon "$pidfile" "$data"; echo "kafka on 127.0.0.1:$port stopped" ;;
crash) stop_daemon "$pidfile" "$data" KILL; echo "kafka on 127.0.0.1:$port killed" ;;
restart) exclusive kafka; stop_daemon "$pidfile" "$data"; start ;;
status) if pid=$(alive "$pidfile" "$data"); then echo "kafka $version on 127.0.0.1:$port, pid $pid, secure=$(secure)"; else echo "kafka on 127.0.0.1:$port is not running"; exit 3; fi ;;
wipe) stop_daemon "$pidfile" "$data"; rm -rf "$data" ;;
topic) tool org.apache.kafka.tools.TopicCommand --bootstrap-server "127.0.0.1:$port" --command-config "$data/admin.properties" --create --if-not-exists --topic "${1:?topic}" --partitions "${2:-3}" ;;
consume)
    topic=${1:?topic}
    shift
    tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "127.0.0.1:$port" --command-config "$data/admin.properties" --from-beginning --topic "$topic" \
        --formatter-property print.key=true --formatter-property print.headers=true "$@"
    ;;
cli) tool "$@" ;;
*) usage ;;
esac
