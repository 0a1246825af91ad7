"""What the bytes of picture files say: formats, chunks of PNG, tags of TIFF, the end of a JPEG."""
