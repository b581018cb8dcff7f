"""From records to findings: aggregates, percentiles, searches, comparisons and verdicts. Pure."""
