#!/bin/sh
# chaos: spoil the network of the manager whose network this container shares.
#
#   chaos cut etcd       nothing from or to etcd any more: no error, no answer, as with a pulled cable
#   chaos cut answers    what the manager asks of etcd arrives, the answers do not
#   chaos cut clients    clients and the load balancer find nobody
#   chaos cut all        all of it
#   chaos lose 30 etcd   three of ten packets to and from etcd are lost
#   chaos slow 64kbit    everything leaves at most that fast
#   chaos heal           as if nothing had been
#   chaos show           what is in force
set -eu

# drop CHAIN PORTS [CONDITION]: from and to these ports.
drop() {
    for end in dport sport; do
        # The condition is several words of nft's, or none.
        # shellcheck disable=SC2086
        nft add rule inet chaos "$1" tcp "$end" "{ $2 }" ${3:-} drop
    done
}

table() {
    nft add table inet chaos
    nft add chain inet chaos in '{ type filter hook input priority -10; }'
    nft add chain inet chaos out '{ type filter hook output priority -10; }'
}

ports() {
    case $1 in
        etcd) echo 2379 ;;
        clients) echo 7400, 7480 ;;
        all) echo 1-65535 ;;
        *) echo "chaos: $1 is none of etcd, answers, clients, all" >&2; exit 2 ;;
    esac
}

# What the manager's device to the network is called: after a reconnection no longer eth0.
device() { ip -o route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p'; }

case ${1:-} in
    cut)
        if [ "${2:?what}" = answers ]; then
            table
            nft add rule inet chaos in tcp sport 2379 drop
        else
            list=$(ports "$2")
            table
            drop in "$list"
            drop out "$list"
        fi
        ;;
    lose)
        percent=${2:?percent}
        list=$(ports "${3:?what}")
        table
        drop in "$list" "numgen random mod 100 < $percent"
        drop out "$list" "numgen random mod 100 < $percent"
        ;;
    slow) tc qdisc replace dev "$(device)" root tbf rate "${2:?rate}" burst 4kb latency 400ms ;;
    heal)
        nft delete table inet chaos 2>/dev/null || true
        tc qdisc delete dev "$(device)" root 2>/dev/null || true
        ;;
    show)
        nft list table inet chaos 2>/dev/null || echo "nothing is cut"
        tc qdisc show dev "$(device)"
        ;;
    stay)
        trap 'exit 0' TERM INT
        sleep infinity & wait
        ;;
    *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
