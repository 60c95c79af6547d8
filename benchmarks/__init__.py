"""What mailqueue is measured against, and with what: `make bench`. See docs/performance.md."""
