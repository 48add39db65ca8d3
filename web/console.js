// The machine's serial console, by xterm.js. A serial line has no size and no encoding: bytes go both ways as they are.

import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import { socketAddress, socketProtocols } from "./server.js";

const SILENT_MS = 4000;
const encoder = new TextEncoder();

export class Console {
  constructor(element, changed) {
    this.changed = changed;
    this.socket = null;
    this.connected = false;
    this.heardAt = performance.now();
    this.terminal = new Terminal({ scrollback: 10000, fontFamily: "ui-monospace, monospace", cursorBlink: true });
    this.fit = new FitAddon();
    this.terminal.loadAddon(this.fit);
    this.terminal.open(element);
    this.terminal.onData((text) => this.send(encoder.encode(text)));
    this.terminal.onBinary((text) => this.send(Uint8Array.from(text, (character) => character.charCodeAt(0))));
    new ResizeObserver(() => element.offsetWidth && this.fit.fit()).observe(element);
  }

  connect() {
    if (this.socket) return;
    const socket = new WebSocket(socketAddress("console"), socketProtocols);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.connected = true;
      this.terminal.reset(); // what was said before comes again, from the machine
      this.changed();
    };
    socket.onmessage = (event) => {
      this.heardAt = performance.now();
      this.terminal.write(new Uint8Array(event.data));
    };
    socket.onclose = () => {
      this.socket = null;
      this.connected = false;
      this.changed();
    };
  }

  // Long enough for somebody to wonder.
  isSilent() {
    return performance.now() - this.heardAt > SILENT_MS;
  }

  send(bytes) {
    if (this.connected) this.socket.send(bytes);
  }

  focus() {
    this.fit.fit();
    this.terminal.focus();
  }
}
