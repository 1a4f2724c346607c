# Holds one child: $1 is the grace in tenths of a second, the rest its program and arguments.
#
# Each line of stdin is the name of a signal for the child. When stdin ends, whoever started us is gone, however it went: the child is
# asked to stop, and killed when the grace is over. stdout says the child's process id, "sent" for each signal, and at the end "exit N";
# stderr is the child's log.
grace=$1
shift
exec 3<&0 0</dev/null
"$@" 3<&- >&2 &
child=$!
echo "$child"
(
    while read -r signal; do
        kill -s "$signal" "$child"
        echo sent
    done <&3
    kill -s TERM "$child"
    kill -s CONT "$child"
    while [ "$grace" -gt 0 ] && kill -s 0 "$child"; do
        sleep 0.1 >/dev/null
        grace=$((grace - 1))
    done
    kill -s KILL "$child"
) 2>/dev/null &
listener=$!
wait "$child"
echo "exit $?"
kill "$listener" 2>/dev/null
