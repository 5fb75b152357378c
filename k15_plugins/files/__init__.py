"""One way to write a file or folder whole, and one to read and write JSONL."""
