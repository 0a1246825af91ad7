"""Networks beside each other: the same pictures, the same metrics, statistics over pairs, one page that shows it."""
