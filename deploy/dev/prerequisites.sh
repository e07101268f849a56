#!/usr/bin/env bash
# Installs the Debian packages that building and testing need, as far as they are missing.
#
#   prerequisites.sh GROUP...
#
#   build    a C and C++ compiler, make, perl, pkg-config, OpenSSL and zlib headers (librdkafka), curl, certificates
#   bench    a Java compiler and GNU time
#   servers  Java and Maven (Kafka), Python with venv (workloads), openssl and the small tools of the scripts beside this one
#
# As root it installs; else it prints the command to run and fails. It never asks.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

missing=()
# need PACKAGE PROBE...: PROBE is a command that succeeds when the package's use is there already, however it came.
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
has() { command -v "$1"; }

[ $# -gt 0 ] || usage
for group in "$@"; do
    case $group in
    build)
        need gcc has gcc
        need g++ has g++
        need libc6-dev test -e /usr/include/stdio.h
        need make has make
        need perl has perl
        need pkg-config has pkg-config
        need libssl-dev test -e /usr/include/openssl/ssl.h
        need zlib1g-dev test -e /usr/include/zlib.h
        need curl has curl
        need ca-certificates test -s /etc/ssl/certs/ca-certificates.crt
        ;;
    servers)
        need "$(apt-cache show openjdk-17-jre-headless >/dev/null 2>&1 && echo openjdk-17-jre-headless || echo default-jre-headless)" has java
        need maven has mvn
        need python3 has python3
        need python3-venv python3 -c 'import venv, ensurepip'
        need openssl has openssl
        need util-linux has flock
        need procps has ps
        need gzip has gzip
        need debian-archive-keyring test -e /usr/share/keyrings/debian-archive-keyring.gpg
        need ca-certificates test -s /etc/ssl/certs/ca-certificates.crt
        ;;
    bench)
        need "$(apt-cache show openjdk-17-jdk-headless >/dev/null 2>&1 && echo openjdk-17-jdk-headless || echo default-jdk-headless)" has javac
        need time test -x /usr/bin/time
        ;;
    *) usage ;;
    esac
done

[ ${#missing[@]} -gt 0 ] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
if [ "$(id -u)" != 0 ]; then
    say "error: missing Debian packages"
    say "hint: run as root: apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    exit 1
fi
command -v apt-get >/dev/null || die "no apt-get here; install by other means: ${missing[*]}"
say "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
{
    apt-get -q -o DPkg::Lock::Timeout=300 update && apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}"
} >"$log" 2>&1 </dev/null || { tail -n 30 "$log" >&2; die "apt-get; the whole output is in $log"; }
rm -f "$log"
