"""Where the time and the memory of a network go: the same network by several ways, measured in turns."""
