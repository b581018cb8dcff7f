"""Pure codecs between bytes and core types: no I/O, no clock, no engine."""
