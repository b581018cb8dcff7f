"""Lets one user's processes on one machine find their one service. No HTTP; supervisor and clients share it."""
