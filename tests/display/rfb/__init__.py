"""The VNC server, seen from its viewers."""
