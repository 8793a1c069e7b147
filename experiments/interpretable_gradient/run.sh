#!/usr/bin/env bash
# Trains every recipe with every λ and three seeds, and writes the README's tables. Call it from the root of the repository, in the
# environment of `make test`, with CIFAR-100 in data/cifar100. If it was stopped, call it again to go on: trainings whose scores are
# here are not made again. BOARDS chooses other boards; JOBS is the number of trainings at a time, each on one thread.
set -euo pipefail
for board in ${BOARDS:-resnet20}; do
    python -m experiments.interpretable_gradient.study "$board" --list \
        | xargs -P "${JOBS:-2}" -I RECIPE python -m experiments.interpretable_gradient.study "$board" RECIPE
    python -m experiments.interpretable_gradient.directions "$board"
done
python -m experiments.interpretable_gradient.table
