"""`python -m weixing` is the program `weixing`."""

from weixing.cli.main import main

main()
