"""Images and their classes: loading them whole, and handing them out in batches."""
