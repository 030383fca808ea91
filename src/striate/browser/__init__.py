"""What runs in a browser: the engine in JavaScript (`engine/`), and what is handed to it."""
