"""What the Nyx authors put before queries."""

ANSWER = "Please retrieve the most relevant document to answer the question.\n"
LECTURE = "Please retrieve the most relevant lecture to answer the question.\n"
EXAMPLE = "Please retrieve the most relevant example Q&A to answer the question.\n"
