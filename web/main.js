// The page of one machine: its screen and its serial console, for as long as it runs, and again when it is started again.

import { Console } from "./console.js";
import { CHORDS, CTRL_ALT_DEL, press } from "./keys.js";
import { Screen } from "./screen.js";
import { ask, hasKey } from "./server.js";

const LOOK_MS = 1000;
const LOOK_AT_REST_MS = 5000; // while both are connected

const find = (id) => document.getElementById(id);
// The server has translated what the page says; all of it is in the page.
const say = (id) => find("words").content.getElementById(id).textContent;
const tabs = ["screen", "console"];
let machine = null;
let shown = null;
let trouble = "";

const screen = new Screen(find("screen"), tell);
const line = new Console(find("terminal"), tell);

function tell() {
  const status = find("status");
  const state = describe();
  status.textContent = trouble || say(state);
  status.classList.toggle("trouble", Boolean(trouble) || state !== "connected");
  for (const element of find("tools").children) element.disabled = !screen.connected;
  const advice = machine?.running && (line.isSilent() || !machine.console.reachable) ? machine.console.advice : "";
  find("advice").textContent = advice ?? "";
  find("advice").hidden = !advice;
}

function describe() {
  if (!machine) return "connecting";
  if (!machine.running) return "shut-off";
  const connected = shown === "screen" ? screen.connected : line.connected;
  if (shown === "console" && !machine.console.reachable) return "elsewhere";
  return connected ? "connected" : "connecting";
}

function show(tab) {
  shown = tab;
  for (const each of tabs) {
    find(each).hidden = each !== tab;
    find(`tab-${each}`).setAttribute("aria-selected", String(each === tab));
  }
  find("tools").hidden = tab !== "screen";
  if (tab === "screen") {
    screen.focus();
  } else {
    screen.blur();
    line.focus();
  }
  tell();
}

async function look() {
  try {
    machine = await ask("machine");
    trouble = "";
    document.title = find("name").textContent = machine.name;
    if (machine.running) connect();
  } catch (error) {
    trouble = error instanceof TypeError ? say("ended") : error.message;
  }
  tell();
  const rests = machine?.running && !trouble && (!machine.screen || screen.connected) && (!machine.console.reachable || line.connected);
  setTimeout(look, rests ? LOOK_AT_REST_MS : LOOK_MS);
}

function connect() {
  find("tab-screen").hidden = !machine.screen;
  if (shown === null) show(machine.screen ? "screen" : "console");
  if (!machine.screen && shown === "screen") show("console");
  if (machine.screen) screen.connect();
  if (machine.console.reachable) line.connect();
}

async function typeText() {
  try {
    await ask("type", { text: find("text").value });
    find("text").value = "";
    find("paste-dialog").close();
    screen.focus();
  } catch (error) {
    find("paste-error").textContent = error.message;
  }
}

for (const tab of tabs) find(`tab-${tab}`).onclick = () => show(tab);
find("keys").append(new Option(say("send-keys"), ""), ...CHORDS.map((chord) => new Option(chord)));
find("keys").onchange = (event) => {
  if (event.target.value) press(screen.rfb, event.target.value);
  event.target.value = "";
  screen.focus();
};
find("ctrl-alt-del").onclick = () => {
  press(screen.rfb, CTRL_ALT_DEL);
  screen.focus();
};
find("paste").onclick = () => {
  find("paste-error").textContent = "";
  find("paste-dialog").showModal();
};
find("type").onclick = (event) => {
  event.preventDefault();
  typeText();
};
find("scale").onchange = (event) => {
  screen.scale(event.target.value);
  screen.focus();
};
find("full").onclick = () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen());

if (hasKey) {
  look();
} else {
  trouble = say("no-key");
  tell();
}
