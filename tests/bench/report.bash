# The form of a figure, for the scripts of this folder:
#   NAME VALUE UNIT budget BUDGET ok|MISSED

missed=0

report() { # name value unit budget less|more
    local verdict
    verdict=$(awk -v v="$2" -v b="$4" -v how="$5" 'BEGIN { print (v != "" && ((how == "less") ? v + 0 <= b : v + 0 >= b)) ? "ok" : "MISSED" }')
    printf '%-34s %12s %-8s budget %s %-10s %s\n' "$1" "${2:-none}" "$3" "$([ "$5" = less ] && echo '<=' || echo '>=')" "$4" "$verdict"
    [ "$verdict" = ok ] || missed=$((missed + 1))
}

note() { printf '%-34s %12s %-8s\n' "$1" "${2:-none}" "$3"; } # no budget, but less noisy than those that have one, or the why of them
