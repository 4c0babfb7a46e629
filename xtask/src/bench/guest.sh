# Run in a guest: floods with each watcher in turn. Lines of results begin with an @.
# Set before: ROUNDS, DROPS, WATCHERS, RATES.

mount -t tracefs none /sys/kernel/tracing 2> /dev/null
# pwru looks for the tracer below it.
mount -t debugfs none /sys/kernel/debug 2> /dev/null
modprobe drop_monitor || exit
ip link set lo up
WARM_UP=200

# flood COUNT: as fast as can be, or at $RATE.
flood() {
    /bench/flood --count "$1" ${RATE:+--rate "$RATE"} > /tmp/flood || exit
}

# wait_for TEXT FILE: at most half a minute.
wait_for() {
    for _ in $(seq 300); do
        grep -q "$1" "$2" 2> /dev/null && return
        usleep 100000
    done
    echo "no '$1' in $2:"
    cat "$2" /tmp/err
    return 1
}

# start COMMAND…: in the background, its input open as descriptor 3.
start() {
    rm -f /tmp/in /tmp/out /tmp/err /tmp/usage
    mkfifo /tmp/in
    /bench/usage /tmp/usage "$@" < /tmp/in > /tmp/out 2> /tmp/err &
    exec 3> /tmp/in
    wait_for pid= /tmp/usage
}

# The pid of what was started.
pid() {
    sed -n 's/^pid=//p' /tmp/usage
}

# Makes the drops, with time before and after for whoever is behind.
drops() {
    flood $WARM_UP
    sleep 2
    warm=$(cat "/proc/$(pid)"/task/*/schedstat | awk '{ ns += $1 } END { printf "%.0f", ns }')
    flood "$DROPS"
    sleep 3
}

# Waits until a tool that is behind has printed all that it will: until its output grows no more, at most two minutes.
behind() {
    for _ in $(seq 60); do
        size=$(wc -c < /tmp/out)
        sleep 2
        [ "$size" = "$(wc -c < /tmp/out)" ] && return
    done
}

# Ends by the end of the input.
end() {
    exec 3>&-
    wait
}

# result NAME FIGURES: with the flood's, and those of usage. With a rate the name says so.
result() {
    echo "@${RATE:+$RATE }$1 $(cat /tmp/flood) made=$((DROPS + WARM_UP)) warm_ns=$warm $2 $(tail -n 1 /tmp/usage)"
}

reader() {
    start /bench/reader --backend "$1" --snap 96
    wait_for ready /tmp/out || { end; return; }
    drops
    end
    result "$1" "$(sed -n 's/^.*matched=\([0-9]*\) lost=\([0-9]*\).*/seen=\1 lost=\2/p' /tmp/out)"
}

dropwatch() {
    TERM=dumb start /usr/bin/dropwatch -l kas
    # It shows no prompt that could be waited for. The kernel's count of losses is of all since its module was loaded: it is asked
    # for before and after.
    for command in stats 'set alertmode packet' start; do
        echo "$command" >&3
        sleep 3
    done
    drops
    behind
    # While it shows drops it reads no commands, and this is how to stop it.
    kill -INT "$(pid)"
    sleep 2
    for command in stats exit; do
        echo "$command" >&3
        sleep 1
    done
    end
    seen=$(grep -c 'drop reason: NO_SOCKET' /tmp/out)
    # Each time two: of software's drops, which these are, and of hardware's.
    lost=$(sed -n 's/^.*[Tt]ail dropped: *\([0-9]*\).*/\1/p' /tmp/out | awk '{ count[NR] = $1 } END { if (NR == 4) print count[3] - count[1] }')
    # Then the guest's output shows why not.
    [ -n "$lost" ] || grep -n -A 3 -i statistics /tmp/out
    result dropwatch "seen=$seen ${lost:+lost=$lost}"
}

pwru() {
    start /usr/bin/pwru --output-tuple --filter-func '^(kfree_skb_reason|sk_skb_reason_drop)$'
    wait_for 'Listening for events' /tmp/err || { end; return; }
    drops
    behind
    kill -INT "$(pid)"
    end
    # By the flood's port: up to 1.0.5 it tells reasons of `kfree_skb_reason` alone, and since Linux 6.11 drops go by the other.
    seen=$(grep -c ':9(udp)' /tmp/out)
    # Then the guest's output shows what it said instead.
    [ "$seen" != 0 ] || head -n 3 /tmp/out /tmp/err
    result pwru "seen=$seen reasons=$(grep -c SKB_DROP_REASON_NO_SOCKET /tmp/out)"
}

watch() {
    case $1 in
        netlink | ebpf | perf) reader "$1" ;;
        *) "$1" ;;
    esac
}

for _ in $(seq "$ROUNDS"); do
    flood "$DROPS"
    echo "@untraced $(cat /tmp/flood) made=$DROPS"
    for watcher in $WATCHERS; do
        watch "$watcher"
    done
done

# Up to which rate is each drop accounted for? By the two that ask drop_monitor.
for RATE in $RATES; do
    DROPS=$((RATE * 2))
    for watcher in $WATCHERS; do
        case $watcher in
            netlink | dropwatch) watch "$watcher" ;;
        esac
    done
done
