"""What `make demo` shows: six ISPs, their subscribers and their mail, all invented."""
