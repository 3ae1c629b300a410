"""What a dataset must look like: schema, quality bits, uncertainty, netCDF in and out."""
