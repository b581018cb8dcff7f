"""Where one user's processes on one machine find their one service. Pure of HTTP; keeper and clients share it."""
