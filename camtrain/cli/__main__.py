"""`python -m camtrain.cli` is `camtrain`."""

from camtrain.cli.main import main

main()
