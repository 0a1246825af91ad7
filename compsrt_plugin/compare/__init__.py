"""Networks beside each other: the same images, the same metrics, statistics over pairs, one page that shows it."""
