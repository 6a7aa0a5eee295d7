"""What saves real trouble with one framework each. Nothing is imported from here."""
