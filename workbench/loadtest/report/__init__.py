"""What a load test shows: sentences, tables and charts."""
