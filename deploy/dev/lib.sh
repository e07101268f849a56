# Sourced by the scripts beside it. Keeps everything that is downloaded or written under PHIWATCH_DEV_HOME.
#
# A server comes as Debian packages of a suite that need not be the host's: the whole closure, its C library
# included, is fetched with a private apt state and unpacked into a folder of its own, and its programs are started
# through the loader found there. The host's packages, libraries and /etc stay as they are; no root, no container.
# The package mirror is whichever the host's own apt configuration names.

PHIWATCH_DEV_HOME=${PHIWATCH_DEV_HOME:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/phiwatch-dev}
certs=$PHIWATCH_DEV_HOME/certs

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# Print the header comment of the calling script, up to its first line that is not a comment.
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

# exclusive NAME: one at a time per NAME, until this script ends. Daemons must be started with 9>&-.
exclusive() {
    mkdir -p "$PHIWATCH_DEV_HOME"
    exec 9>"$PHIWATCH_DEV_HOME/$1.lock"
    flock -w 600 9 || die "another $1 start or stop has held its lock for ten minutes"
}

# alive PIDFILE WORD: prints the pid if that process runs and WORD is on its command line (pids are used again).
alive() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$2" && echo "$pid"
}

# stop_daemon PIDFILE WORD [SIGNAL]: waits for the end, at most two minutes.
stop_daemon() {
    local pid i
    pid=$(alive "$1" "$2") || { rm -f "$1"; return 0; }
    kill -"${3:-TERM}" "$pid"
    for ((i = 0; i < 1200; i++)); do
        alive "$1" "$2" >/dev/null || { rm -f "$1"; return 0; }
        sleep 0.1
    done
    die "process $pid did not stop"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The main archive of the host's apt configuration, without its update, security and backport suites.
mirror() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
        awk '$3 == "main" && $1 !~ /security/ && $2 !~ /-(updates|security|backports)$/ {print $1; exit}'
}

# packages SUITE ROOT PROGRAM PACKAGE...: unpack PACKAGEs with all they depend on into ROOT, unless PROGRAM is there.
packages() {
    local suite=$1 root=$2 program=$3 apt uri signed='' deb count=0 begin=$SECONDS
    shift 3
    [ ! -e "$root/$program" ] || return 0
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || die "needs apt-get and dpkg-deb (a Debian host)"
    uri=$(mirror)
    [ -n "$uri" ] || die "no main archive in this machine's apt configuration"
    [ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ] || signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] '
    apt=$PHIWATCH_DEV_HOME/apt-$suite
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/empty"
    : >"$apt/status"
    echo "deb $signed$uri $suite main" >"$apt/sources.list"
    # The host's apt.conf.d (proxy, transports) still holds; state, cache and sources are private. Hooks that clean
    # the cache after each run (container images have them) are dropped.
    cat >"$apt/apt.conf" <<CONF
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::State::status "$apt/status";
Dir::State::lists "$apt/lists";
Dir::State::extended_states "$apt/extended_states";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/empty";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$apt/empty";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::Check-Valid-Until "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-hidpi::DefaultEnabled "false";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Binary::apt::APT::Keep-Downloaded-Packages "true";
APT::Keep-Downloaded-Packages "true";
Debug::NoLocking "true";
CONF
    say "fetching $* ($suite)"
    APT_CONFIG=$apt/apt.conf apt-get -q update >"$apt/update.log" 2>&1 </dev/null || { tail -n 20 "$apt/update.log" >&2; die "apt-get update for $suite"; }
    rm -f "$apt"/cache/archives/*.deb
    APT_CONFIG=$apt/apt.conf apt-get -q -y --download-only install "$@" >"$apt/fetch.log" 2>&1 </dev/null || { tail -n 20 "$apt/fetch.log" >&2; die "apt-get download for $suite"; }
    rm -rf "$root.part"
    mkdir -p "$root.part/usr"/{bin,sbin,lib,lib64}
    for deb in bin sbin lib lib64; do ln -s "usr/$deb" "$root.part/$deb"; done
    for deb in "$apt"/cache/archives/*.deb; do
        # Perl and friends serve maintainer scripts, which do not run here.
        case ${deb##*/} in perl* | libperl* | debconf* | gawk* | rsync* | passwd*) continue ;; esac
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root.part" --keep-directory-symlink --no-same-owner \
            --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale' --exclude='./usr/lib/debug' ||
            die "cannot unpack ${deb##*/}"
        count=$((count + 1))
    done
    [ -e "$root.part/$program" ] || die "$program is not in the packages"
    rm -rf "$root"
    mv "$root.part" "$root"
    rm -f "$apt"/cache/archives/*.deb
    say "unpacked $count packages in $((SECONDS - begin)) s"
}

# within ROOT PROGRAM [ARG...]: run a program of ROOT with ROOT's loader and libraries.
within() {
    local root=$1 program=$2
    shift 2
    "$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" "$root/$program" "$@"
}

# The same for a daemon: detached, in place of the calling subshell.
daemon() {
    local root=$1 program=$2
    shift 2
    exec setsid "$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" "$root/$program" "$@"
}

# One authority and one certificate for localhost, 127.0.0.1 and ::1, shared by all servers, so that clients can
# verify the identity; and one client certificate.
make_certs() {
    [ ! -e "$certs/.complete" ] || return 0
    command -v openssl >/dev/null || die "needs openssl; run deploy/dev/prerequisites.sh servers"
    local new=$certs.$$
    rm -rf "$new"
    mkdir -p "$new"
    (
        umask 077
        cd "$new"
        openssl req -x509 -newkey rsa:2048 -nodes -days 825 -subj "/CN=phiwatch dev authority" \
            -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca-key.pem -out ca.pem
        for who in server client; do
            openssl req -newkey rsa:2048 -nodes -subj "/CN=phiwatch-dev-$who" -keyout $who-key.pem -out $who.csr
            openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 825 -out $who-cert.pem -extfile <(
                printf 'basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=%sAuth\n' $who)
        done
        cat server-key.pem server-cert.pem ca.pem >server-all.pem # Kafka wants one file
        touch .complete
    ) >"$PHIWATCH_DEV_HOME/certs.log" 2>&1 || die "openssl; see $PHIWATCH_DEV_HOME/certs.log"
    # Who comes second keeps the first one's.
    mv -T "$new" "$certs" 2>/dev/null || rm -rf "$new"
    [ -e "$certs/.complete" ] || die "no certificates in $certs"
}

# A Unix socket path may have 107 bytes.
socket_path() {
    if [ "${#1}" -lt 100 ]; then echo "$1"; else echo "/tmp/phiwatch-$(id -u)-$2.sock"; fi
}
