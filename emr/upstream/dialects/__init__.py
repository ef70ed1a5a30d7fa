"""The providers' JSON, one file each, and the table that names them."""
