"""The Gradio page: one tab a module, bound to the schema by name."""
