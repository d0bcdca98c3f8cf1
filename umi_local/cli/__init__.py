"""The command line: stdout is for data, stderr for the rest, exit codes are an interface."""
