#!/bin/bash
# Runs HAProxy and has it read its certificate again when the file has changed.
#
# HAProxy reads it when it starts. Its master starts a new worker on SIGUSR2; connections that exist
# stay with the old one until they end. Only what bash has by itself is used: the image has little.
set -u
config=${HAPROXY_CONFIG:-/usr/local/etc/haproxy/haproxy.cfg}
certificate=${HAPROXY_CERTIFICATE:-/var/lib/mgr/active/tls/manager.pem}
every=${HAPROXY_CHECK_EVERY:-30}

master= ended=
trap 'ended=1; [ -z "$master" ] || kill -TERM $master' TERM INT
haproxy -W -db -f "$config" &
master=$!
[ -z "$ended" ] || kill -TERM $master

before=$(<"$certificate")
while kill -0 $master 2>/dev/null; do
    # A wait is ended by a signal at once, a read would finish first.
    (read -rt "$every" <> <(:)) &
    wait $!
    now=$(<"$certificate") || continue
    if [ -n "$now" ] && [ "$now" != "$before" ]; then
        before=$now
        kill -USR2 $master
    fi
done 2>/dev/null
wait $master
