"""`python -m camtrain` is the command `camtrain`, also where the folder of scripts is not on the path."""

from camtrain.cli import main

if __name__ == "__main__":
    main()
