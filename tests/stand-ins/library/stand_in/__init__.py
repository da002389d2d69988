"""What the three Django stand-ins share: faults on demand, fast starts, small clients."""
