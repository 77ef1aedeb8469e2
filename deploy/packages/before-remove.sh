#!/bin/sh
# Before the files go. deb calls it with "remove", rpm with 0; an upgrade leaves the services running.
set -e

case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac

if [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now mgrd.service mgr-agent.service || true
fi
