"""Who may call what: tokens, Host and Origin, and the ids that calls are known by."""
