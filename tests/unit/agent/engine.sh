#!/bin/sh
# A container engine for tests: a container is a process in a session of its own. Like docker it
# refuses everything while "down" is there, has one container of a name, and keeps one that ended.
home=$(dirname "$0")
if [ -e "$home/down" ]; then
    echo "$1" >>"$home/refused"
    echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock." >&2
    exit 1
fi
words="$*"
for name; do :; done # the last word, but for run
pid() { cat "$home/$name.pid" 2>/dev/null; }
case $1 in
run)
    revision=${words##*mgr.revision=}
    name=${words##*--name }
    name=${name%% *}
    [ ! -e "$home/$name.pid" ] || { echo "Conflict. The name $name is in use." >&2; exit 125; }
    echo "$name" >>"$home/runs"
    setsid sleep 1000 >/dev/null 2>&1 </dev/null &
    echo $! >"$home/$name.pid"
    echo "${revision%% *}" >"$home/$name.revision"
    ;;
container)
    [ -e "$home/$name.pid" ] || { echo "Error: No such container: $name" >&2; exit 1; }
    kill -0 "$(pid)" 2>/dev/null && runs=true || runs=false
    echo "[{\"State\": {\"Running\": $runs, \"ExitCode\": 137}, \"Config\": {\"Labels\":
        {\"mgr.revision\": \"$(cat "$home/$name.revision")\"}}}]"
    ;;
logs)
    [ -e "$home/$name.pid" ] || { echo "Error: No such container: $name" >&2; exit 1; }
    echo "serving"
    ;;
stop) kill "$(pid)" 2>/dev/null ;;
rm)
    [ -e "$home/$name.pid" ] || { echo "Error: No such container: $name" >&2; exit 1; }
    kill -9 "$(pid)" 2>/dev/null
    rm -f "$home/$name.pid" "$home/$name.revision"
    ;;
esac
exit 0
