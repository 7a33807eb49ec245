"""Networks that enlarge pictures: files of the ESRGAN family, read by spandrel."""
