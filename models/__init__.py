"""Role packs as data: one manifest per pack."""
