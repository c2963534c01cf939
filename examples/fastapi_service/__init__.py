"""A small FastAPI service over holisticpool: what a real one looks like, and what `./dev demo` measures."""
