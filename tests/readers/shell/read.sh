# Sources the files as a shell does: `SHELL read.sh SHELL DIRECTORY WORK`. Text of any shell that POSIX describes.
reader=$1 directory=$2 work=$3 failed=0
for format in dotenv shell; do
    count=0
    for file in "$directory/$format"/*; do
        name=${file##*/}
        count=$((count + 1))
        # A subshell, so that no value is left over.
        (
            unset BEFORE KEY AFTER
            set -a
            . "$file"
            set +a
            printf '%s' "$BEFORE" >"$work/before"
            printf '%s' "$KEY" >"$work/key"
            printf '%s' "$AFTER" >"$work/after"
        ) >"$work/said" 2>&1
        if ! [ -s "$work/said" ] && cmp -s "$work/key" "$directory/expected/$name" && [ "$(cat "$work/before" "$work/after")" = beforeafter ]; then continue; fi
        failed=1
        echo "$reader: $format $name: another value was read"
        cat "$work/said"
    done
    echo "$reader: $format: $count read"
done
exit $failed
