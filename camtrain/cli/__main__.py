"""`python -m camtrain.cli` is `camtrain`."""

from camtrain.ablation.tether import let_go_with_parent
from camtrain.cli.main import main

let_go_with_parent()
main()
