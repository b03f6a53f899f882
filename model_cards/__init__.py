"""Cards, licences and citations: made from facts, never typed."""
