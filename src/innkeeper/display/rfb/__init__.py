"""VNC: the remote framebuffer protocol, so that any viewer shows and drives a guest.

Spec: RFC 6143, and for everything younger the RFB community's protocol document (rfbproto).
"""

from innkeeper.display.rfb.server import VncServer

__all__ = ["VncServer"]
