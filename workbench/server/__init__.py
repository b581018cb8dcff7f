"""The engine over HTTP: one gate, thin handlers (decode, await the engine, encode), one process."""
