#!/usr/bin/env bash
# Trains the variants of MapFaithfulness with three seeds, and writes the README's tables. Call it from the root of the repository,
# in the environment of `make test`, with CIFAR-100 in data/cifar100. If it was stopped, call it again to go on: trainings whose
# scores are here are not made again. BOARDS chooses other boards; JOBS is the number of trainings at a time, each on one thread.
set -euo pipefail
for board in ${BOARDS:-resnet20 resnet20_short}; do
    python -m experiments.map_faithfulness.ablation "$board" --list \
        | xargs -P "${JOBS:-2}" -I VARIANT python -m experiments.map_faithfulness.ablation "$board" VARIANT
done
python -m experiments.map_faithfulness.table
