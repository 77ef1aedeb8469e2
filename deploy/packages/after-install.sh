#!/bin/sh
# After the files are there: users, and the units on an upgrade. deb calls it with "configure" and the
# old version, rpm with 1 (first) or 2 (upgrade).
set -e

case "$1" in
configure) upgrade=${2:+yes} ;;
1) upgrade= ;;
[2-9]*) upgrade=yes ;;
*) exit 0 ;;
esac

make_user() {
    getent group "$1" >/dev/null || groupadd --system "$1"
    getent passwd "$1" >/dev/null || useradd --system --gid "$1" --no-create-home \
        --home-dir "/var/lib/$1" --shell /usr/sbin/nologin --comment "$2" "$1"
}

if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers /usr/lib/sysusers.d/mgr.conf
else
    make_user mgr "Distributed manager"
    make_user mgr-agent "Agent of the distributed manager"
fi

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # A restart hands over first. Nothing is started that did not run: settings come first.
    if [ -n "$upgrade" ]; then
        systemctl try-restart mgrd.service mgr-agent.service || true
    fi
fi
