#!/usr/bin/env python
from stand_in.manage import main

if __name__ == "__main__":
    main("casepro.settings")
