"""The command line: one module a command. It reads the installation's files and asks a live cell over an edge."""
