#!/bin/sh
# After the files are gone. Users stay: their number must not become somebody else's. "purge" of deb
# takes what the services kept on this host, their certificates and keys included.
set -e

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
if [ "$1" = purge ]; then
    for folder in mgr mgr-agent; do
        rm -rf "/var/lib/private/$folder" "/var/lib/$folder"
    done
fi
