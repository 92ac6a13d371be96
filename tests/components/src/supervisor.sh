# sh -c TEXT NAME HOME COMMAND...: runs the command, whose process id it writes to stdout, and ends as it ends.
# At the end of stdin, which means that the owner is gone, it kills the command and removes the folder HOME.
home=$1
shift
exec 3<&0 4>&1 >&2
"$@" </dev/null 3<&- 4>&- &
child=$!
echo "$child" >&4
exec 4>&-
(
    read -r _ <&3
    trap '' TERM
    kill -9 "$child"
    while kill -0 "$child"; do sleep 0.05; done
    rm -rf "$home"
) 2>/dev/null &
watcher=$!
wait "$child"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
