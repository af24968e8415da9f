"""Images, the disks over them, seeds, and the tiny image that boots in a second."""
