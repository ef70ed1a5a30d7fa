#!/bin/sh
# Installs emr from a file that is here already; nothing is downloaded.
#
#   ./install.sh --user             ~/.local/bin/emr, and a unit of the user's own manager
#   sudo ./install.sh --system      /usr/local/bin/emr, and the hardened unit
#   ./install.sh --user --uninstall           removes what was installed; data and secrets stay
#   sudo ./install.sh --system --uninstall --purge    those go too
#
# --file FILE   the zipapp (emr.pyz here or in dist/, or that of this processor); its SHA-256 must be
#               in SHA256SUMS beside it
# --no-start    installs, and leaves the service as it is
set -eu

here=$(cd "$(dirname "$0")" && pwd)
whose='' file='' act=install purge=no start=yes

say() { printf '%s\n' "$*"; }
stop() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

usage() {
    sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"
}

while [ $# -gt 0 ]; do
    case $1 in
    --user | --system) whose=${1#--} ;;
    --file)
        [ $# -ge 2 ] || stop "--file needs the name of one"
        file=$2
        shift
        ;;
    --uninstall) act=uninstall ;;
    --purge) purge=yes ;;
    --no-start) start=no ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done

case $whose in
system)
    [ "$(id -u)" = 0 ] || stop "--system needs root: sudo $0 --system"
    bin=/usr/local/bin units=/etc/systemd/system unit=emr.service manager=systemctl
    ;;
user)
    [ -n "${HOME:-}" ] || stop "HOME is not set"
    bin=$HOME/.local/bin units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user unit=emr.user.service
    manager='systemctl --user'
    ;;
*)
    usage >&2
    exit 2
    ;;
esac

# whether a service manager is there to be told
managed() {
    if [ "$whose" = system ]; then
        [ -d /run/systemd/system ]
    else
        systemctl --user show-environment >/dev/null 2>&1
    fi
}

find_file() {
    [ -n "$file" ] && return
    name=emr.pyz
    [ "$(uname -m)" = x86_64 ] || name=emr-$(uname -m).pyz
    for file in "$here/$name" "$here/dist/$name"; do
        [ -f "$file" ] && return
    done
    stop "there is no $name here: scripts/build-zipapp makes it, or --file names it"
}

check_file() {
    [ -f "$file" ] || stop "$file is not there"
    sums=$(dirname "$file")/SHA256SUMS name=$(basename "$file")
    [ -f "$sums" ] || stop "$sums is not there: $file cannot be checked"
    wanted=$(awk -v name="$name" '$2 == name { print $1 }' "$sums")
    [ -n "$wanted" ] || stop "$sums does not name $name"
    found=$(sha256sum "$file" | cut -d ' ' -f 1)
    [ "$wanted" = "$found" ] || stop "$file is not the file that $sums tells of: it was changed"
    version=$("$file" --version) || stop "$file does not run here"
}

make_secret() {
    if [ "$whose" = user ]; then
        # under a service manager the first start makes none
        env=$HOME/.config/emr/.env
        ! grep -Eq '^(export )?EMR_ADMIN_SECRET=' "$env" 2>/dev/null || return 0
        (
            umask 077
            mkdir -p "$HOME/.config/emr"
            secret=$(head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
            printf '\nEMR_ADMIN_SECRET=%s\n' "$secret" >>"$env"
        )
        return 0
    fi
    secret=/etc/emr/credentials/admin_secret
    install -d -m 0755 /etc/emr
    install -d -m 0700 /etc/emr/credentials
    [ -s "$secret" ] || (
        umask 077
        head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$secret"
    )
    [ -e /etc/emr/config.toml ] ||
        install -m 0644 "$here/packaging/package/config.toml" /etc/emr/config.toml
}

put_units() {
    mkdir -p "$units"
    for each in $unit emr.socket; do
        [ "$each" = emr.socket ] && [ "$whose" = user ] && continue
        name=$(echo "$each" | sed 's/\.user//')
        sed "s#/usr/bin/emr #$bin/emr #" "$here/systemd/$each" >"$units/$name.new"
        mv "$units/$name.new" "$units/$name"
    done
}

install_all() {
    [ ! -e /usr/lib/emr ] || [ "$whose" = user ] || stop "emr is installed as a package already"
    find_file
    check_file
    mkdir -p "$bin"
    # beside, then in place of: whoever starts it meanwhile has the old one or the new one
    install -m 0755 "$file" "$bin/.emr.new"
    mv "$bin/.emr.new" "$bin/emr"
    make_secret
    put_units
    say "$version is $bin/emr; its unit is $units/emr.service"
    if ! managed; then
        say "no service manager answers here; to start it: $bin/emr serve"
    elif [ "$start" = yes ]; then
        $manager daemon-reload
        # who served by emr.socket goes on so
        $manager is-enabled --quiet emr.socket 2>/dev/null || $manager enable emr.service
        $manager restart emr.service
        say "it serves at 127.0.0.1:3200; next: $bin/emr keys create --name app"
    else
        $manager daemon-reload
        say "to start it: $manager enable --now emr"
    fi
    case :$PATH: in *":$bin:"*) ;; *) say "$bin is not on your PATH" ;; esac
}

uninstall_all() {
    [ ! -e /usr/lib/emr ] || [ "$whose" = user ] || stop "emr is installed as a package: apt remove emr"
    if managed; then
        $manager disable --now emr.socket 2>/dev/null || true
        $manager disable --now emr.service 2>/dev/null || true
    fi
    rm -f "$bin/emr" "$units/emr.service" "$units/emr.socket"
    if managed; then
        $manager daemon-reload
        $manager reset-failed emr.service 2>/dev/null || true
    fi
    if [ "$purge" = yes ]; then
        rm -rf "$units/emr.service.d" "$units/emr.socket.d"
        rm -rf "${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/emr"
        if [ "$whose" = system ]; then
            rm -rf /var/lib/emr /var/lib/private/emr /var/cache/emr /var/cache/private/emr /etc/emr
        else
            rm -rf "$HOME/.config/emr"
        fi
        say "emr is removed, with its keys, providers, configuration and secrets"
    else
        say "emr is removed; its data and secrets stay (--purge removes them)"
    fi
}

${act}_all
