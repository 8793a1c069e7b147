#!/usr/bin/env bash
# Measures all that waits for a GPU, in at most 8 minutes; see README.md. Call it from the root of the repository. A part that is
# stopped keeps what it has measured, and another call goes on from there.
# DEVICE=cpu SIZE=--quick OUT=/tmp/gpu tries it in small on a CPU.
set -uo pipefail
device=${DEVICE:-cuda}
size=${SIZE:-}
out=${OUT:-experiments/gpu}
mkdir -p "$out"

part() {  # the seconds that it may take, a name, a command
    local seconds=$1 name=$2
    shift 2
    [ "$device" = cpu ] && seconds=3600 # a try, not a measurement
    echo "== $name"
    timeout --signal INT --kill-after 10 "$seconds" "$@" > "$out/$name.txt" 2>&1
    local status=$?
    tail -n 12 "$out/$name.txt"
    [ $status -eq 0 ] || echo "$name ended with status $status (124: its time was up)"
}

cost() {  # the seconds that it may take, a name, options
    local memory=
    [ "$device" = cpu ] && memory=--no-memory # each engine would need a process of its own
    # shellcheck disable=SC2086
    part "$1" "$2" python -m experiments.step_cost.step_cost --device "$device" $size $memory --results "$out/step_cost.csv" "${@:3}"
}

part 90 tests python -m pytest -q -p no:cacheprovider tests/test_gpu.py tests/test_far_device.py tests/metrics/test_torchmetrics.py -k "gpu or far or device"
cost 70 step_cost_float32 --networks resnet18 mobilenet_v2 --steps 10
cost 50 step_cost_bf16 --networks resnet18 mobilenet_v2 --steps 10 --precision bf16 --channels-last
cost 80 step_cost_compiled --networks resnet18 --steps 10 --precision bf16 --channels-last --compile
# shellcheck disable=SC2086
part 90 agreement python -m experiments.engine_agreement.engine_agreement --device "$device" $size --results "$out/engine_agreement.csv" \
    --networks cifar_resnet8 resnet18 --distances cosine --weights 7.5e-3 0.1 --phases start middle --forced
# shellcheck disable=SC2086
part 90 throughput python -m experiments.throughput.throughput --device "$device" ${size:---images 51200} --results "$out/throughput.csv"
