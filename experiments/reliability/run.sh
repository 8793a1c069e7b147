#!/usr/bin/env bash
# Runs all parts, and writes the README's tables. Call it from the root of the repository, in the environment of `make test`. It takes
# about an hour on two cores, and `SIZE=--small` some minutes. If it was stopped, call it again to go on: cases whose rows are here are
# not run again. FRESH=--fresh forgets them.
set -euo pipefail
for part in bad_inputs hostile_files torn_files world_faults gradients_of_processes long_training kills; do
    # A part that fails does not keep the others from being run.
    python -m "experiments.reliability.$part" ${SIZE:-} ${FRESH:-} --jobs "${JOBS:-2}" --seed "${SEED:-0}" || echo "$part failed" >&2
done
python -m experiments.reliability.table
