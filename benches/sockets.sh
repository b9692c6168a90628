#!/usr/bin/env bash
# A cache hit and a request that passes, over real sockets, beside others who do the same: what it costs in processor
# time, and how many there are in a second. Prints the tables of docs/performance.md.
#
#     apt-get install nginx-light varnish haproxy wrk       # whoever is missing is left out; wrk is needed
#     benches/sockets.sh [ROUNDS] [SECONDS] [CONNECTIONS]   # 5 rounds of 3 s with 48 connections, if nothing is said
#     benches/sockets.sh --with-pingora ...                 # builds benches/pingora first, for which it takes cmake
#
# pingora takes part where it has been built, for requests that pass.
# Every server has one thread (Varnish has one for each connection that is busy) and, where there are several processors,
# the first of them, in front of the same origin, which has the second together with wrk. In each round they take turns.
# Processor time is user and system of all processes of a server, by /proc, over the requests that wrk counts. Nothing is
# started as a service, all of it listens on 127.0.0.1 only, and ends with the script.
set -euo pipefail
cd "$(dirname "$0")/.."
die() { echo "$*" >&2; exit 1; }
has() { command -v "$1" > /dev/null; }

with_pingora=
[ "${1:-}" != --with-pingora ] || { with_pingora=yes; shift; }
rounds=${1:-5} seconds=${2:-3} connections=${3:-48} port=${PORT:-18400}
for number in "$rounds" "$seconds" "$connections" "$port"; do
    [[ $number =~ ^[1-9][0-9]{0,4}$ ]] || die "$number is no number: sockets.sh [--with-pingora] [ROUNDS] [SECONDS] [CONNECTIONS]"
done
for tool in wrk wget taskset pgrep; do has $tool || die "$tool is needed"; done

cargo build --quiet --release -p bartizan-gateway --bin bartizan --example origin
target=${CARGO_TARGET_DIR:-target}/release
pingora=${CARGO_TARGET_DIR:-benches}/pingora
[ -n "${CARGO_TARGET_DIR:-}" ] || pingora+=/target
[ -z $with_pingora ] || cargo build --quiet --release --manifest-path benches/pingora/Cargo.toml --target-dir "$pingora"
pingora+=/release/bartizan-bench-pingora
[ -x "$pingora" ] || echo "pingora is left out: benches/sockets.sh --with-pingora builds it, in some minutes" >&2
dir=$(mktemp -d)
chmod 755 "$dir" # nginx and Varnish may step down from root
pids=()
trap 'kill "${pids[@]}" 2> /dev/null || true; sleep 1; rm -rf "$dir"' EXIT

# PROCESSOR COMMAND...: becomes that command, so it is for a process of its own.
on() { if [ "$(nproc)" -gt 1 ]; then exec taskset -c "$@"; else shift; exec "$@"; fi; }

declare -A at=() pid=()
# NAME COMMAND...: starts it on the next port, which stands for @PORT@ in the command.
start() {
    local name=$1; shift
    port=$((port + 1)); at[$name]=$port
    on 0 "${@//@PORT@/$port}" > "$dir/$name.log" 2>&1 &
    pid[$name]=$!; pids+=($!)
}
# Writes standard input to a file, with @PORT@ for the port that comes next and @ORIGIN@ for the origin's.
config() { sed "s/@PORT@/$((port + 1))/; s/@ORIGIN@/$origin/; s,@DIR@,$dir,g" > "$dir/$1"; }

origin=$port
on 1 "$target/examples/origin" "127.0.0.1:$origin" > "$dir/origin.log" 2>&1 & pids+=($!)
start axum "$target/examples/origin" 127.0.0.1:@PORT@
to=(--to "http://127.0.0.1:$origin" --threads 1)
start bartizan-cache "$target/bartizan" proxy --listen 127.0.0.1:@PORT@ "${to[@]}" --cache 64MiB
start bartizan-pass "$target/bartizan" proxy --listen 127.0.0.1:@PORT@ "${to[@]}"

if has nginx; then
    for kind in cache pass; do
        caching=""
        [ $kind = pass ] || caching="proxy_cache store;"
        mkdir -p "$dir/nginx-$kind"
        config nginx-$kind.conf <<END
worker_processes 1; daemon off; pid @DIR@/nginx-$kind/pid; error_log @DIR@/nginx-$kind/error.log;
events { worker_connections 1024; }
http {
    access_log off; keepalive_requests 1000000000;
    client_body_temp_path @DIR@/nginx-$kind/body; proxy_temp_path @DIR@/nginx-$kind/proxy;
    fastcgi_temp_path @DIR@/nginx-$kind/f; uwsgi_temp_path @DIR@/nginx-$kind/u; scgi_temp_path @DIR@/nginx-$kind/s;
    proxy_cache_path @DIR@/nginx-$kind/store keys_zone=store:10m;
    upstream origin { server 127.0.0.1:@ORIGIN@; keepalive 256; keepalive_requests 1000000000; }
    server {
        listen 127.0.0.1:@PORT@;
        location / {
            proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; $caching
            proxy_set_header Host \$host; proxy_set_header X-Forwarded-For \$remote_addr;
            proxy_set_header X-Forwarded-Proto http; proxy_set_header X-Forwarded-Host \$host;
            proxy_set_header Via "1.1 nginx"; add_header Via "1.1 nginx"; add_header X-Cache \$upstream_cache_status;
        }
    }
}
END
        start nginx-$kind nginx -c "$dir/nginx-$kind.conf" -e "$dir/nginx-$kind/error.log"
    done
fi
if has haproxy; then
    for kind in cache pass; do
        caching=""
        [ $kind = pass ] || caching=$'http-request cache-use store\n    http-response cache-store store'
        config haproxy-$kind.cfg <<END
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    option forwardfor
    http-reuse always
cache store
    total-max-size 64
    max-age 3600
listen front
    bind 127.0.0.1:@PORT@
    $caching
    server origin 127.0.0.1:@ORIGIN@
END
        start haproxy-$kind haproxy -db -f "$dir/haproxy-$kind.cfg"
    done
fi
[ ! -x "$pingora" ] || start pingora-pass "$pingora" 127.0.0.1:@PORT@ "127.0.0.1:$origin"
if has varnishd; then
    start varnish-cache varnishd -F -n "$dir/varnish" -a 127.0.0.1:@PORT@ -b "127.0.0.1:$origin" -s malloc,64m \
        -p thread_pools=1 -p thread_pool_min=$((connections + 20))
fi

# NAME: waits until it answers, and that it does, and nobody else who had the port before.
ready() {
    for _ in $(seq 100); do
        if ! kill -0 "${pid[$1]}" 2> /dev/null; then break; fi
        ! wget -qO /dev/null --tries=1 --timeout=5 "http://127.0.0.1:${at[$1]}/1k" 2> /dev/null || return 0
        sleep 0.1
    done
    cat "$dir/$1.log" >&2
    die "$1 does not answer on port ${at[$1]}: is somebody else there? PORT=20400 takes those from 20400 on"
}

for name in "${!at[@]}"; do
    ready "$name"
    # What is stored is stored by now.
    for _ in 1 2 3; do wget -qO /dev/null --tries=1 --timeout=5 "http://127.0.0.1:${at[$name]}/1k"; done
done

# The processor time of a process and its children so far, in microseconds.
ticks=$(getconf CLK_TCK)
spent() {
    local sum=0 one
    for one in "$1" $(pgrep -P "$1"); do
        sum=$((sum + $(sed 's/.*) //' "/proc/$one/stat" | cut -d' ' -f12,13 | tr ' ' '+')))
    done
    echo $((sum * (1000000 / ticks)))
}
resident() {
    local one
    for one in "$1" $(pgrep -P "$1"); do awk '/^VmRSS/ { print $2 }' "/proc/$one/status"; done | awk '{ sum += $1 } END { print sum }'
}

order=(axum bartizan-cache nginx-cache haproxy-cache varnish-cache bartizan-pass nginx-pass haproxy-pass pingora-pass)
load_before=$(cut -d' ' -f1-3 /proc/loadavg)
for round in $(seq "$rounds"); do
    for name in "${order[@]}"; do
        [ -n "${at[$name]:-}" ] || continue
        before=$(spent "${pid[$name]}")
        (on 1 wrk -t1 -c"$connections" -d"$seconds" "http://127.0.0.1:${at[$name]}/1k") > "$dir/wrk"
        after=$(spent "${pid[$name]}")
        if grep -q "Non-2xx\|Socket errors" "$dir/wrk"; then
            echo "$name:" >&2; cat "$dir/wrk" >&2
        fi
        count=$(awk '/requests in/ { print $1 }' "$dir/wrk")
        [ "${count:-0}" -gt 0 ] || { cat "$dir/$name.log" >&2; die "$name answered nothing"; }
        rate=$(awk '/Requests\/sec/ { print $2 }' "$dir/wrk")
        echo "$round $name $rate $(awk "BEGIN { print ($after - $before) / $count }")"
    done
done | tee "$dir/measured" >&2

median() { sort -g | awk '{ at[NR] = $1 } END { printf "%s", NR % 2 ? at[(NR + 1) / 2] : (at[NR / 2] + at[NR / 2 + 1]) / 2 }'; }
# NAME BASE COLUMN: of each round the ratio to another's.
ratios() {
    awk -v name="$1" -v base="$2" -v col="$3" '$2 == base { b[$1] = $col } $2 == name { n[$1] = $col }
        END { for (round in n) if (b[round] > 0) print n[round] / b[round] }' "$dir/measured"
}
column() { awk -v name="$1" -v col="$2" '$2 == name { print $col }' "$dir/measured"; }
# BASE NAME...
table() {
    local base=$1 name; shift
    local whose=${base%-*}
    echo "| | requests a second | beside $whose's | CPU for a request | beside $whose's |"
    echo "|---|--:|--:|--:|--:|"
    for name in "$@"; do
        [ -n "${at[$name]:-}" ] || continue
        printf '| %s | %.0f | %.2f | %.1f µs | %.2f |\n' "${name%-*}" "$(column "$name" 3 | median)" \
            "$(ratios "$name" "$base" 3 | median)" "$(column "$name" 4 | median)" "$(ratios "$name" "$base" 4 | median)"
    done
}

echo "$(nproc) processors ($(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo)), Linux $(uname -r);" \
    "$rounds rounds of $seconds s, $connections connections"
has nginx && nginx -v 2>&1
# Not by `head`, which would end them in the middle of a word, and with them this.
has haproxy && haproxy -v | sed -n 1p
has varnishd && varnishd -V 2>&1 | sed -n 1p
[ ! -x "$pingora" ] || sed -n 's/^pingora = .*version = "\([^"]*\)".*/pingora: \1/p' benches/pingora/Cargo.toml
rustc --version
echo "load: $load_before before, $(cut -d' ' -f1-3 /proc/loadavg) after"
printf '\nA cache hit:\n\n'
table axum axum bartizan-cache haproxy-cache nginx-cache varnish-cache
if has nginx; then
    printf '\nA request that passes:\n\n'
    table nginx-pass nginx-pass haproxy-pass bartizan-pass pingora-pass
fi

# Each request for something else, so that all of them are stored.
cat > "$dir/each.lua" <<'END'
local n = 0
request = function() n = n + 1; return wrk.format("GET", "/o/" .. n) end
END
start bartizan-store "$target/bartizan" proxy --listen 127.0.0.1:@PORT@ "${to[@]}" --cache 1GiB
ready bartizan-store
store=${at[bartizan-store]}
(on 1 wrk -t1 -c"$connections" -d1 "http://127.0.0.1:$store/1k") > /dev/null
before=$(resident "${pid[bartizan-store]}")
(on 1 wrk -t1 -c"$connections" -d"$seconds" -s "$dir/each.lua" "http://127.0.0.1:$store/") > "$dir/wrk"
stored=$(awk '/requests in/ { print $1 }' "$dir/wrk")
[ "${stored:-0}" -gt 0 ] || die "nothing was stored"
after=$(resident "${pid[bartizan-store]}")
printf '\nStored: %d objects of 1 KiB, in %d KiB more: %d bytes each\n' "$stored" $((after - before)) \
    $(((after - before) * 1024 / stored))
