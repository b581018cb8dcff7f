"""Metrics, snapshots and logs. All metric names are here."""
