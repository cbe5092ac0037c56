"""What the data is: stages, ids, records, references. Imports nothing of the package but `errors`."""
