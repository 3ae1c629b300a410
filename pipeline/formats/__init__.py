"""Generic readers and writers: CCSDS packets, PDS3 labels and tables, das2, DSN files, the archive's known defects."""
