"""Two captioners on the same images: is the second better, and by how much is it style."""
