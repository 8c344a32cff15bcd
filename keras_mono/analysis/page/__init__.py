"""What a report holds, as data and as a page."""
