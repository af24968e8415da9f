"""Black box over HTTP, in process."""
