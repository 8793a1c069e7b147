#!/usr/bin/env bash
# Trains the variants of MapFaithfulness with three seeds, six in the short training, and writes the README's tables. Call it from
# the root of the repository, in the environment of `make test`, with CIFAR-100 in data/cifar100. If it was stopped, call it again
# to go on: trainings whose scores are here are not made again. BOARDS chooses other boards; JOBS is the number of trainings at a
# time, each on one thread.
set -euo pipefail
for board in ${BOARDS:-resnet20 resnet20_short}; do
    seeds="0 1 2"
    [ "$board" = resnet20_short ] && seeds="0 1 2 3 4 5"
    python -m experiments.map_faithfulness.ablation "$board" --list \
        | xargs -P "${JOBS:-2}" -I VARIANT python -m experiments.map_faithfulness.ablation "$board" VARIANT --seeds $seeds
done
python -m experiments.map_faithfulness.table
