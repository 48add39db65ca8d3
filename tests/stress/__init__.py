"""The guest's own stress: its kernel rewrites itself, its programs do what is hard to translate, and all of it checks itself."""
