#!/usr/bin/env bash
# Usage: ./demo.sh [PORT]
# Runs two nodes and a Redis on 127.0.0.1, on PORT (8080) and the two ports behind it, until Ctrl-C.
# Needs Go, redis-server, redis-cli, and what `npm ci` puts in this folder.
set -eum # -m: Ctrl-C reaches this script alone, which ends the others in order
cd "$(dirname "$0")"
one=${1:-8080} two=$((${1:-8080} + 1)) redis=$((${1:-8080} + 2))

folder=$(mktemp -d)
nodes='' store=''
stop() {
  trap '' INT TERM HUP
  # Nodes first: they send their clients away, and tell each other.
  [ -z "$nodes" ] || kill $nodes 2>/dev/null || true
  wait $nodes || true
  [ -z "$store" ] || kill "$store" 2>/dev/null || true
  wait
  rm -r "$folder"
}
trap stop EXIT
trap 'exit 0' INT TERM HUP

go build -o "$folder/cluster" .

redis-server --bind 127.0.0.1 --port "$redis" --dir "$folder" --save '' --appendonly no >"$folder/redis.log" 2>&1 &
store=$!
until redis-cli -p "$redis" ping >/dev/null 2>&1; do
  kill -0 "$store" 2>/dev/null || { cat "$folder/redis.log" >&2; exit 1; }
  sleep 0.1
done
kill -0 "$store" # or it is another one that answers

JWT_SECRET=$(head -c 32 /dev/urandom | base64)
export JWT_SECRET
start() { # start PORT OTHER
  "$folder/cluster" -addr "127.0.0.1:$1" -others "http://127.0.0.1:$2" -redis "127.0.0.1:$redis" &
  nodes="$nodes $!"
}
start "$one" "$two"
start "$two" "$one"
echo "A chat on two nodes: open http://127.0.0.1:$one and http://127.0.0.1:$two side by side,"
echo "and log in as red in one and as blue in the other."

alive() { for process; do kill -0 "$process" 2>/dev/null || return 1; done; }
while alive "$store" $nodes; do sleep 1 & wait $!; done
exit 1
