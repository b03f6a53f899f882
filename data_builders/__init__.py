"""From pages and public sets to rows of one schema."""
