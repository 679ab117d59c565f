"""What a measurement runs in a child process: one side of a section, a JSON document as the last line of stdout."""
