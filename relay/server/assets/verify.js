// Checks a receipt of the transparency log in the browser, and asks nobody.
//
// The hashes are computed here because browsers offer SHA-256 only to pages they call secure, and SHA3 never. Ed25519 is the
// browser's. Which side a neighbour stands on follows from index and size alone; sides that a receipt names must agree.

const utf8 = new TextEncoder();

function concat(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);

function unhex(text) {
  if (typeof text !== "string" || !/^(?:[0-9a-f]{2})+$/.test(text)) throw new Error("expected lower-case hex digits");
  return Uint8Array.from(text.match(/../g), (byte) => parseInt(byte, 16));
}

function unbase64(text) {
  const standard = text.replace(/-/g, "+").replace(/_/g, "/");
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(standard)) throw new Error("expected base64");
  return Uint8Array.from(atob(standard), (letter) => letter.charCodeAt(0));
}

// FIPS 180-4. The constants are the first 32 bits of the fractional parts of roots of primes, as the standard defines them.
const [START, ROUND] = (() => {
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime)) primes.push(n);
  // Exact: the floor of 2^32 · p^(1/power), found by halving in whole numbers.
  const fraction = (prime, power) => {
    const target = BigInt(prime) << BigInt(32 * power);
    let [low, high] = [0n, 1n << 40n];
    while (high - low > 1n) {
      const middle = (low + high) >> 1n;
      if (middle ** BigInt(power) <= target) low = middle;
      else high = middle;
    }
    return Number(low & 0xffffffffn);
  };
  return [primes.slice(0, 8).map((p) => fraction(p, 2)), primes.map((p) => fraction(p, 3))];
})();

export function sha256(message) {
  const blocks = Math.ceil((message.length + 9) / 64);
  const padded = new Uint8Array(blocks * 64);
  padded.set(message);
  padded[message.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(message.length) * 8n);
  const state = Uint32Array.from(START);
  const w = new Uint32Array(64);
  const turn = (x, by) => (x >>> by) | (x << (32 - by));
  for (let block = 0; block < padded.length; block += 64) {
    for (let t = 0; t < 64; t++) {
      if (t < 16) {
        w[t] = view.getUint32(block + 4 * t);
      } else {
        const s0 = turn(w[t - 15], 7) ^ turn(w[t - 15], 18) ^ (w[t - 15] >>> 3);
        const s1 = turn(w[t - 2], 17) ^ turn(w[t - 2], 19) ^ (w[t - 2] >>> 10);
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
      }
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let t = 0; t < 64; t++) {
      const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + ROUND[t] + w[t]) >>> 0;
      const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) >>> 0;
      [a, b, c, d, e, f, g, h] = [(one + two) >>> 0, a, b, c, (d + one) >>> 0, e, f, g];
    }
    [a, b, c, d, e, f, g, h].forEach((word, at) => (state[at] += word));
  }
  const out = new DataView(new ArrayBuffer(32));
  state.forEach((word, at) => out.setUint32(4 * at, word));
  return new Uint8Array(out.buffer);
}

// FIPS 202, with 64-bit lanes as whole numbers: slow, and fast enough for a few dozen hashes.
const LANE = (1n << 64n) - 1n;
const [TURNS, IOTA] = (() => {
  const turns = Array(25).fill(0n);
  let [x, y] = [1, 0];
  for (let t = 0; t < 24; t++) {
    turns[x + 5 * y] = BigInt((((t + 1) * (t + 2)) / 2) % 64);
    [x, y] = [y, (2 * x + 3 * y) % 5];
  }
  let register = 1;
  const bit = () => {
    const low = register & 1;
    register <<= 1;
    if (register & 0x100) register ^= 0x171;
    return low;
  };
  const iota = [];
  for (let round = 0; round < 24; round++) {
    let constant = 0n;
    for (let j = 0; j < 7; j++) if (bit()) constant |= 1n << BigInt((1 << j) - 1);
    iota.push(constant);
  }
  return [turns, iota];
})();

function keccak(lanes) {
  const turn = (x, by) => ((x << by) | (x >> (64n - by))) & LANE;
  for (let round = 0; round < 24; round++) {
    const c = [0, 1, 2, 3, 4].map((x) => lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20]);
    const mixed = lanes.map((lane, at) => lane ^ c[(at + 4) % 5] ^ turn(c[(at + 1) % 5], 1n));
    const moved = Array(25);
    for (let x = 0; x < 5; x++) {
      for (let y = 0; y < 5; y++) moved[y + 5 * ((2 * x + 3 * y) % 5)] = turn(mixed[x + 5 * y], TURNS[x + 5 * y]);
    }
    for (let y = 0; y < 25; y += 5) {
      for (let x = 0; x < 5; x++) {
        lanes[x + y] = moved[x + y] ^ (~moved[((x + 1) % 5) + y] & LANE & moved[((x + 2) % 5) + y]);
      }
    }
    lanes[0] ^= IOTA[round];
  }
}

export function sha3(message) {
  const rate = 136;
  const padded = new Uint8Array((Math.floor(message.length / rate) + 1) * rate);
  padded.set(message);
  padded[message.length] ^= 0x06;
  padded[padded.length - 1] ^= 0x80;
  const view = new DataView(padded.buffer);
  const lanes = Array(25).fill(0n);
  for (let block = 0; block < padded.length; block += rate) {
    for (let lane = 0; lane < rate / 8; lane++) lanes[lane] ^= view.getBigUint64(block + 8 * lane, true);
    keccak(lanes);
  }
  const out = new DataView(new ArrayBuffer(32));
  for (let lane = 0; lane < 4; lane++) out.setBigUint64(8 * lane, lanes[lane], true);
  return new Uint8Array(out.buffer);
}

// RFC 6962 §2.1.1: sides of all neighbours from leaf `index` up to the root of a tree of `size` leaves.
export function sides(index, size) {
  const found = [];
  let [at, last] = [index, size - 1n];
  while (last > 0n && at <= last) {
    if (at & 1n) found.push("left");
    else if (at < last) found.push("right");
    at >>= 1n;
    last >>= 1n;
  }
  return found;
}

function climb(hash, leaf, index, size, path) {
  if (index >= size) throw new Error(`entry ${index} is not in a tree of ${size} entries`);
  const ways = sides(index, size);
  if (ways.length !== path.length) throw new Error(`the path has ${path.length} hashes; index and size call for ${ways.length}`);
  const node = (left, right) => hash(concat(Uint8Array.of(1), left, right));
  return path.reduce((at, sibling, n) => (ways[n] === "left" ? node(sibling, at) : node(at, sibling)), leaf);
}

function number(text) {
  if (!/^(?:0|[1-9][0-9]{0,19})$/.test(text)) throw new Error(`"${text}" is not a whole number`);
  return BigInt(text);
}

function hash32(text) {
  const bytes = unbase64(text);
  if (bytes.length !== 32) throw new Error("a hash has 32 bytes");
  return bytes;
}

// C2SP tlog-proof.
export function parseProof(text) {
  const lines = text.split("\n");
  let at = 0;
  if (lines[at++] !== "c2sp.org/tlog-proof@v1") throw new Error("the first line is not c2sp.org/tlog-proof@v1");
  if (!(lines[at] ?? "").startsWith("extra ")) throw new Error("the proof does not carry its entry (a line that begins with extra)");
  const entry = unbase64(lines[at++].slice(6));
  if (!(lines[at] ?? "").startsWith("index ")) throw new Error("the line with the index is missing");
  const index = number(lines[at++].slice(6));
  const path = [];
  while (at < lines.length && lines[at] !== "") path.push(hash32(lines[at++]));
  return { entry, index, path, note: lines.slice(at + 1).join("\n") };
}

// C2SP signed-note and tlog-checkpoint.
export function parseNote(note) {
  const blank = note.lastIndexOf("\n\n");
  if (blank < 0) throw new Error("the checkpoint is no signed note");
  const text = note.slice(0, blank + 1);
  const signatures = note.slice(blank + 2).split("\n").filter(Boolean).map((line) => {
    const parts = /^— (\S+) (\S+)$/.exec(line);
    if (!parts) throw new Error("a signature line of the checkpoint is malformed");
    const bytes = unbase64(parts[2]);
    return { name: parts[1], id: hex(bytes.slice(0, 4)), bytes: bytes.slice(4) };
  });
  const [origin, size, root] = text.split("\n");
  return { text, signatures, origin, size: number(size), root: hash32(root) };
}

const TYPES = { 1: "Ed25519", 6: "ML-DSA-44", 255: "ML-DSA-65" };

export function parseKey(line) {
  const parts = /^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/.exec(line);
  if (!parts) throw new Error(`a key is name+id+key: "${line.slice(0, 40)}"`);
  const [, name, id, encoded] = parts;
  const material = unbase64(encoded);
  if (hex(sha256(concat(utf8.encode(`${name}\n`), material)).slice(0, 4)) !== id) throw new Error(`the id of the key ${name}+${id} is not that of the key`);
  return { name, id, type: TYPES[material[0]] ?? "another algorithm", key: material.slice(1) };
}

async function ed25519(key, message, signature) {
  if (!globalThis.crypto?.subtle) return "unavailable";
  try {
    const imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
    return (await crypto.subtle.verify("Ed25519", imported, signature, message)) ? "good" : "bad";
  } catch (error) {
    return error.name === "NotSupportedError" || error.name === "SyntaxError" ? "unavailable" : "bad";
  }
}

/// The steps of a check: [good | bad | open, title, detail].
async function checkProof(text, keys, steps) {
  const { entry, index, path, note } = parseProof(text);
  const words = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(entry));
  steps.push(["good", `The proof is for entry ${index}: ${words.k}, in the hour ${words.t}`, new TextDecoder().decode(entry)]);
  leafOfEntry(entry, words, steps);
  const checkpoint = parseNote(note);
  const leaf = sha256(concat(Uint8Array.of(0), entry));
  steps.push(["good", "The entry's leaf, SHA-256(00 ‖ entry)", hex(leaf)]);
  const root = climb(sha256, leaf, index, checkpoint.size, path);
  if (!same(root, checkpoint.root)) {
    steps.push(["bad", `${path.length} neighbours lead to another root than the checkpoint's`, `${hex(root)} is not ${hex(checkpoint.root)}`]);
    return;
  }
  steps.push(["good", `${path.length} neighbours lead to the root of the checkpoint over ${checkpoint.size} entries`, hex(root)]);
  for (const signature of checkpoint.signatures) {
    const known = keys.find((key) => key.name === signature.name && key.id === signature.id);
    const line = `${signature.name}, key id ${signature.id}`;
    if (!known) steps.push(["open", "A signature by a key that is not among those you trust", line]);
    else if (known.type !== "Ed25519") steps.push(["open", `The ${known.type} signature is not checked: no browser knows the algorithm`, line]);
    else if (known.name !== checkpoint.origin) steps.push(["open", "An Ed25519 signature that is not the log's own", line]);
    else {
      const outcome = await ed25519(known.key, utf8.encode(checkpoint.text), signature.bytes);
      if (outcome === "good") steps.push(["good", "The log's Ed25519 signature under the checkpoint holds", line, "signed"]);
      else if (outcome === "bad") steps.push(["bad", "The Ed25519 signature does not hold", line]);
      else steps.push(["open", "The Ed25519 signature is not checked: this browser does not offer it here", line]);
    }
  }
}

/// Entries with a body say themselves what their leaf in the other tree is made of (docs/spec).
function leafOfEntry(entry, words, steps) {
  if (!("b" in words)) return;
  const text = new TextDecoder().decode(entry);
  const body = text.slice('{"b":'.length, text.lastIndexOf(`,"k":"${words.k}","l":"`));
  const hash = sha3(concat(Uint8Array.of(3), sha3(utf8.encode(words.k)), sha3(utf8.encode(body)), utf8.encode(words.t)));
  const fits = hex(hash) === words.l;
  steps.push([fits ? "good" : "bad", `The entry's leaf in the SHA3-256 tree ${fits ? "is" : "is not"} that of kind, body and hour`, hex(hash)]);
}

function checkReceipt(receipt, steps) {
  const proof = receipt.inclusion_proof;
  if (!proof) throw new Error("this JSON is no delivery receipt: it has no inclusion_proof");
  steps.push(["good", `A receipt for the file with SHA-256 ${receipt.blob_hash}`, `read at ${new Date(receipt.retrieved_at).toISOString()}, ${receipt.relay_id}`]);
  const leaf = sha3(concat(Uint8Array.of(2), unhex(receipt.blob_hash), sha3(utf8.encode(receipt.sector)), utf8.encode(receipt.ts)));
  const fits = hex(leaf) === proof.leaf_hash;
  steps.push([fits ? "good" : "bad", `The leaf ${fits ? "is" : "is not"} that of this file, sector and time`, hex(leaf)]);
  const [index, size] = [BigInt(proof.leaf_index), BigInt(proof.tree_size)];
  const named = proof.audit_path.map((step) => step.position).join();
  if (named !== sides(index, size).join()) throw new Error("the path names other sides than index and size call for");
  const root = hex(climb(sha3, leaf, index, size, proof.audit_path.map((step) => unhex(step.hash))));
  const reached = root === proof.root && (!proof.sth || (proof.sth.sha3_root === root && proof.sth.tree_size === proof.tree_size));
  steps.push([reached ? "good" : "bad", `${proof.audit_path.length} neighbours lead to ${reached ? "the root of the tree head in the receipt" : "another root"} over ${size} entries`, root]);
  steps.push(["open", "The receipt's signature (ML-DSA-65) is not checked: no browser knows the algorithm", "paramant verify receipt.json --identity identity.json"]);
}

function verdict(steps) {
  if (steps.some(([state]) => state === "bad")) return ["bad", "Do not believe it: something does not hold."];
  if (steps.some((step) => step[3] === "signed")) return ["good", "It holds: the entry is in the log, and the log's Ed25519 key signed that. The post-quantum signatures were not checked."];
  return ["open", "The hashes hold. Whether the log signed them was not checked here."];
}

export async function check(text, keyLines) {
  const steps = [];
  try {
    const keys = keyLines.split("\n").map((line) => line.trim()).filter(Boolean).map(parseKey);
    const trimmed = text.trim();
    if (!trimmed) throw new Error("there is nothing to check: choose a file, or paste its text");
    if (trimmed.startsWith("c2sp.org/")) await checkProof(text.replace(/\r\n/g, "\n").trimStart(), keys, steps);
    else {
      const json = trimmed.startsWith("{") ? trimmed : new TextDecoder().decode(unbase64(trimmed));
      checkReceipt(JSON.parse(json), steps);
    }
  } catch (error) {
    steps.push(["bad", "It cannot be read, or does not fit together", error.message]);
  }
  return { steps, verdict: verdict(steps) };
}

const WORDS = { good: "Holds", bad: "Does not hold", open: "Not checked" };

function show({ steps, verdict: [state, sentence] }) {
  const line = document.getElementById("verdict");
  line.textContent = sentence;
  line.className = state;
  const list = document.getElementById("steps");
  list.replaceChildren(
    ...steps.map(([how, title, detail]) => {
      const item = document.createElement("li");
      const head = document.createElement("p");
      const mark = document.createElement("span");
      mark.className = how;
      mark.textContent = `${WORDS[how]}: `;
      head.append(mark, title);
      const code = document.createElement("code");
      code.className = "hash";
      code.textContent = detail;
      item.append(head, code);
      return item;
    }),
  );
  const outcome = document.getElementById("outcome");
  outcome.hidden = false;
  outcome.focus();
}

const form = document.getElementById("check");
form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const [file] = document.getElementById("file").files;
  const pasted = document.getElementById("receipt").value;
  show(await check(pasted.trim() || !file ? pasted : await file.text(), document.getElementById("keys").value));
});
