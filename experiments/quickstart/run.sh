#!/usr/bin/env bash
# Runs `make demo`, and writes its results into results.csv and the README's table. Call it from the root of the repository. If it
# was stopped, call it again to go on.
set -euo pipefail
make demo
cp runs/demo/results.csv experiments/quickstart/
.venv/bin/python -m experiments.quickstart.table
