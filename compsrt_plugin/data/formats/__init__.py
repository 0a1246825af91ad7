"""Parse the bytes of image files: formats, chunks of PNG, tags of TIFF, the end of a JPEG."""
