"""What happened, as figures and lines: metrics, snapshots of them, logs. The only home of metric names."""
