"""Cross-object rules, one module per theme; each is `check(report)` and adds what it finds."""
