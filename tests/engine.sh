# What the tests of containers need: a Docker engine, a registry to start, an image with Python and
# a conda channel. Sourced by tests/run, whose $tools and `missing` it uses.

# The image that tests start containers from, and machines to log in to by SSH: a Debian or Ubuntu
# as this machine's, with Python. A change of what is in it changes its tag too.
base_image=trainyard-test-base:2
# The same with systemd, to be a machine that boots.
systemd_image=trainyard-test-systemd:2
engine_pid=
base_image_pid=

# Installs what is not there yet, by apt.
install_engine() {
    local packages=()
    command -v dockerd >/dev/null || engine_answers || packages+=(docker.io)
    command -v docker-registry >/dev/null || packages+=(docker-registry)
    command -v htpasswd >/dev/null || packages+=(apache2-utils)
    command -v debootstrap >/dev/null || packages+=(debootstrap)
    command -v ip >/dev/null || packages+=(iproute2)
    command -v strace >/dev/null || packages+=(strace)
    command -v linux.uml >/dev/null || packages+=(user-mode-linux)
    # Login shells of machines over SSH.
    local shell
    for shell in fish tcsh zsh; do
        command -v "$shell" >/dev/null || packages+=("$shell")
    done
    [ ${#packages[@]} = 0 ] && return
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        missing "not installed: ${packages[*]} (as root on Debian or Ubuntu this installs them)"
        return
    fi
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive \
        apt-get install -yq --no-install-recommends "${packages[@]}"; } >"$tools/apt.log" 2>&1 ||
        { tail -n 20 "$tools/apt.log" >&2; missing "cannot install ${packages[*]}"; }
}

engine_answers() { docker version >/dev/null 2>&1; }

# Starts an engine unless one answers; one that was running is used and left alone.
start_engine() {
    engine_answers && return
    local waited=0
    if ! command -v dockerd >/dev/null || [ "$(id -u)" != 0 ]; then
        missing "no Docker engine answers, and only root can start one"
        return
    fi
    # What a machine that lost power leaves behind stops the next start.
    rm -f "$tools/dockerd.pid"
    setsid dockerd --pidfile "$PWD/$tools/dockerd.pid" >"$tools/dockerd.log" 2>&1 </dev/null &
    engine_pid=$!
    until engine_answers; do
        if ! kill -0 "$engine_pid" 2>/dev/null || [ $((waited += 1)) -gt 300 ]; then
            tail -n 20 "$tools/dockerd.log" >&2
            missing "the Docker engine does not start: see $tools/dockerd.log"
            return
        fi
        sleep 0.1
    done
}

# Makes the base image in the background, where the engine lacks it.
start_base_image() {
    engine_answers || return 0
    docker image inspect "$base_image" >/dev/null 2>&1 && return
    if ! command -v debootstrap >/dev/null || [ "$(id -u)" != 0 ]; then
        missing "only root can make the image $base_image, by debootstrap"
        return
    fi
    make_base_image >"$tools/base-image.log" 2>&1 &
    base_image_pid=$!
}

make_base_image() {
    set -e
    local root mirror components=main
    root=$(mktemp -d "$PWD/$tools/base-image.XXXXXX")
    trap 'rm -rf "$root"' EXIT
    . /etc/os-release
    [ "$ID" = ubuntu ] && components=main,universe
    # The mirror that this machine itself uses.
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' \
        'Created-By: Packages' 'Component: main' | sed -n "s/ $VERSION_CODENAME\$//p" | head -n 1)
    debootstrap --variant=minbase --components="$components" \
        --include=python3,python3-venv,python3-pip,ca-certificates,procps,openssh-server,iproute2,rsync,sudo \
        "$VERSION_CODENAME" "$root" "$mirror"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    # Every machine makes its own.
    rm -f "$root"/etc/ssh/ssh_host_*
    ln -s python3 "$root/usr/bin/python"
    tar -C "$root" -c . | docker import -c 'CMD ["/bin/bash"]' - "$base_image"
}

# Waits for the base image.
finish_base_image() {
    [ -n "$base_image_pid" ] || return 0
    wait "$base_image_pid" ||
        { tail -n 20 "$tools/base-image.log" >&2; missing "cannot make the image $base_image"; }
    base_image_pid=
}

# Makes the image with systemd, where the engine lacks it: half a minute, on top of the base image.
make_systemd_image() {
    engine_answers || return 0
    docker image inspect "$systemd_image" >/dev/null 2>&1 && return
    if ! command -v apt-get >/dev/null || ! docker image inspect "$base_image" >/dev/null 2>&1; then
        missing "no apt-get or no $base_image to make the image $systemd_image with"
        return
    fi
    add_systemd >"$tools/systemd-image.log" 2>&1 ||
        { tail -n 20 "$tools/systemd-image.log" >&2; missing "cannot make the image $systemd_image"; }
}

# From where this machine itself gets its packages. What a container cannot have is masked. All units
# are counted: on control groups of version 1, when the last goes that is, systemd tidies its own root
# away, and the engine can start nothing in the container any more.
add_systemd() (
    set -e
    container=$(docker create --network host -v /etc/apt:/etc/apt:ro -v /etc/ssl/certs:/etc/ssl/certs:ro \
        -e DEBIAN_FRONTEND=noninteractive "$base_image" sh -ec '
            apt-get update -q
            apt-get install -yq --no-install-recommends systemd systemd-sysv libpam-systemd dbus init-system-helpers libssl3
            systemctl mask getty.target console-getty.service ssh.service
            mkdir /etc/systemd/system.conf.d
            printf "[Manager]\nDefault%sAccounting=yes\n" CPU Memory Tasks >/etc/systemd/system.conf.d/count.conf
            rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*')
    trap 'docker rm -f "$container"' EXIT
    docker start --attach "$container"
    docker commit -c 'CMD ["/sbin/init"]' -c 'ENV container=docker' "$container" "$systemd_image"
)

# Ends what was started here, and nothing else.
stop_engine() {
    [ -n "$base_image_pid" ] && kill "$base_image_pid" 2>/dev/null
    [ -n "$engine_pid" ] && kill "$engine_pid" 2>/dev/null && wait "$engine_pid"
    return 0
}
