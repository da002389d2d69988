#!/usr/bin/env python3
from stand_in.manage import main

if __name__ == "__main__":
    main("temba.settings")
