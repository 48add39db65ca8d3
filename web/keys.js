// Keys that a browser or its desktop keeps for itself: keysyms of X, and codes of the DOM.

const KEYS = {
  Ctrl: [0xffe3, "ControlLeft"],
  Alt: [0xffe9, "AltLeft"],
  Super: [0xffeb, "MetaLeft"],
  Del: [0xffff, "Delete"],
  Backspace: [0xff08, "Backspace"],
  Tab: [0xff09, "Tab"],
  Esc: [0xff1b, "Escape"],
  Enter: [0xff0d, "Enter"],
  Print: [0xff61, "PrintScreen"],
  b: [0x62, "KeyB"],
  c: [0x63, "KeyC"],
  w: [0x77, "KeyW"],
};
for (let number = 1; number <= 12; number++) KEYS[`F${number}`] = [0xffbd + number, `F${number}`];

export const CTRL_ALT_DEL = "Ctrl-Alt-Del";
export const CHORDS = [
  ...Array.from({ length: 12 }, (_, index) => `Ctrl-Alt-F${index + 1}`),
  "Ctrl-Alt-Backspace", "Alt-Tab", "Alt-F4", "Ctrl-w", "Super", "Print", "Alt-Print-b", "Esc", "Tab", "F1", "F2", "F8", "F11", "F12",
];

export function press(rfb, chord) {
  const keys = chord.split("-").map((name) => KEYS[name]);
  for (const [keysym, code] of keys) rfb.sendKey(keysym, code, true);
  for (const [keysym, code] of keys.reverse()) rfb.sendKey(keysym, code, false);
}
