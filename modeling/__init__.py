"""What is uploaded beside the weights: the model, its processor, and how content becomes vectors."""
