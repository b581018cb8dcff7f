"""Where files of strangers are read and tried: a process of its own, with less than any other process has."""
