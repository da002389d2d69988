#!/usr/bin/env python3
import sys

from stand_in import work
from stand_in.manage import main

if __name__ == "__main__":
    if sys.argv[1:2] == ["collectstatic"]:
        work.take(work.COLLECTING)
    main("temba.settings")
