// The machine's screen, by noVNC.

import RFB from "@novnc/novnc";
import { socketAddress, socketProtocols } from "./server.js";

export class Screen {
  constructor(element, changed) {
    this.element = element;
    this.changed = changed;
    this.rfb = null;
    this.scaling = "fit";
    this.connected = false;
  }

  connect() {
    if (this.rfb) return;
    const rfb = new RFB(this.element, socketAddress("screen"), { wsProtocols: socketProtocols, shared: true });
    this.rfb = rfb;
    rfb.background = "#000";
    rfb.qualityLevel = 8;
    this.scale(this.scaling);
    rfb.addEventListener("connect", () => {
      this.connected = true;
      this.changed();
      rfb.focus();
    });
    rfb.addEventListener("disconnect", () => {
      this.rfb = null;
      this.connected = false;
      this.changed();
    });
  }

  scale(how) {
    this.scaling = how;
    if (!this.rfb) return;
    this.rfb.scaleViewport = how !== "exact";
    this.rfb.clipViewport = false;
    this.rfb.resizeSession = how === "resize";
  }

  focus() {
    this.rfb?.focus();
  }

  blur() {
    this.rfb?.blur();
  }
}
