"""What the bytes of image files say: formats, chunks of PNG, tags of TIFF, the end of a JPEG."""
