// The server behind this page: who asks is known by the key in the address it printed. The key stays in this tab.

const STORED = "innkeeper-key";

function takeKey() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) {
    sessionStorage.setItem(STORED, given);
    history.replaceState(null, "", location.pathname); // out of sight, and out of the way of screenshots
  }
  return given || sessionStorage.getItem(STORED);
}

const key = takeKey();

export const hasKey = Boolean(key);

export function socketAddress(path) {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/${path}`;
}

// A browser's WebSocket carries no headers of ours, but protocols.
export const socketProtocols = ["binary", `key.${key}`];

export async function ask(path, body) {
  const options = { headers: { Authorization: `Bearer ${key}` }, cache: "no-store" };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(`/${path}`, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}
