"""What an encoder is worth: task files, fine-tuning and its grid, results, and the table beside the published one."""
