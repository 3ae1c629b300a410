"""Generic readers and writers: CCSDS packets, PDS3 labels and tables, das2 streams, and the archive's known defects."""
