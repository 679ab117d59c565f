"""The command line: one short file a verb (parse, call, print). No formula lives here."""
