// Uploads one file in parts, and goes on where it stopped: after a lost connection by itself, after a reload once the
// same file is chosen again. It knows the same file by its name, its size, and a hash of its first and last MiB.
"use strict";

(() => {
  const form = document.querySelector("form[data-upload]");
  if (!form) return;
  const MIB = 1024 * 1024;
  const LONGEST_WAIT = 30000;
  const MOST_STUMBLES = 8;
  // Answers after which another try may succeed: too late, elsewhere, damaged, busy; 0 is no answer at all.
  const PASSING = new Set([0, 403, 408, 409, 422, 429, 502, 503, 504]);

  const input = form.querySelector("input[type=file]");
  const trust = form.elements.trust;  // on the operator's page only
  const start = form.querySelector("button[type=submit]");
  const cancel = form.querySelector("[data-cancel]");
  const meter = form.querySelector("[data-progress]");
  const bar = meter.querySelector("progress");
  const amount = meter.querySelector("[data-amount]");
  const told = form.querySelector("[role=status]");
  const before = form.querySelector("[data-before]");
  const address = form.dataset.upload;
  let current = form.dataset.open || null;
  let working = null;

  class Refused extends Error {
    constructor(status, answer) {
      super((answer && answer.error) || "The server does not answer.");
      this.status = status;
      this.isElsewhere = Boolean(answer) && typeof answer.offset === "number";
    }
  }

  const say = (text, isBad = false) => {
    told.textContent = text;
    told.className = isBad ? "notice bad" : "notice";
    told.hidden = !text;
  };

  const shownSize = bytes => {
    const units = ["B", "kB", "MB", "GB"];
    let value = bytes, unit = 0;
    while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
    return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
  };

  const shownTime = seconds => seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;

  async function exchange(url, options) {
    let answer;
    try {
      answer = await fetch(url, {credentials: "same-origin", cache: "no-store", ...options});
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused(0, null);
    }
    const content = await answer.json().catch(() => null);
    if (!answer.ok) throw new Refused(answer.status, content);
    return content;
  }

  const ask = (what, fields, signal) => exchange(`${address}/${what}`, {
    method: "POST",
    body: new URLSearchParams({csrf: form.elements.csrf.value, ...fields}),
    signal,
  });

  async function hashOf(bytes) {
    // Browsers have this for pages by https and on this machine only.
    const digest = window.crypto && crypto.subtle ? await crypto.subtle.digest("SHA-256", bytes) : sha256(bytes);
    return [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, "0")).join("");
  }

  async function endsOf(file) {
    const ends = file.size <= 2 * MIB ? file : new Blob([file.slice(0, MIB), file.slice(file.size - MIB)]);
    return hashOf(await ends.arrayBuffer());
  }

  function show(done, file, since) {
    meter.hidden = false;
    bar.max = file.size;
    bar.value = done;
    const percent = Math.floor(100 * done / file.size);
    const seconds = (performance.now() - since.at) / 1000;
    const rate = (done - since.done) / seconds;
    const left = seconds > 3 && rate > 0 ? `, about ${shownTime((file.size - done) / rate)} left` : "";
    amount.textContent = `${percent}\u00a0%: ${shownSize(done)} of ${shownSize(file.size)}${left}`;
  }

  async function sendPart(file, standing, signal) {
    const part = await file.slice(standing.offset, standing.offset + standing.part_bytes).arrayBuffer();
    return exchange(standing.parts, {
      method: "PUT",
      headers: {
        "Content-Type": "application/octet-stream",
        "Upload-Ticket": standing.ticket,
        "Upload-Checksum": await hashOf(part),
      },
      body: part,
      signal,
    });
  }

  const rest = (milliseconds, signal) => new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("canceled", "AbortError"));
    }, {once: true});
  });

  async function send(file, signal) {
    const which = {name: file.name, size: file.size, ends: await endsOf(file)};
    let standing = null, stumbles = 0, since = null;
    for (;;) {
      try {
        if (!standing) {
          standing = await ask("begin", which, signal);
          current = standing.upload;
          since = {at: performance.now(), done: standing.offset};
          say(standing.offset && standing.ticket ? "Goes on where it stopped." : "Uploading.");
        }
        show(standing.offset, file, since);
        if (!standing.ticket) {
          say("All of it is here, and is looked at.");
          const trusted = trust && trust.checked ? {trust: trust.value} : {};
          return await ask("finish", {upload: standing.upload, ...trusted}, signal);
        }
        standing = await sendPart(file, standing, signal);
        stumbles = 0;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        // At its beginning an upload is refused for good, unless nobody answers or the server is busy.
        const isBeginning = !standing && error.status !== 0 && error.status < 500;
        if (!PASSING.has(error.status) || isBeginning) throw error;
        if (!error.isElsewhere) stumbles += 1;
        if (error.status !== 0 && stumbles > MOST_STUMBLES) throw error;
        standing = null;
        if (error.isElsewhere) continue;
        const wait = Math.min(LONGEST_WAIT, 1000 * 2 ** (stumbles - 1));
        say(`${error.message} The upload goes on by itself; next try in ${shownTime(wait / 1000)}.`, true);
        await rest(wait, signal);
      }
    }
  }

  function note(isWorking) {
    input.disabled = start.disabled = isWorking;
    cancel.hidden = !isWorking && !current;
    if (before) before.hidden = isWorking || !current;
  }

  form.addEventListener("submit", async event => {
    event.preventDefault();
    const file = input.files[0];
    if (working || !file) return;
    if (file.size === 0 || file.size > Number(form.dataset.most)) {
      say(file.size ? `The file is larger than ${form.dataset.mostShown}.` : "The file is empty.", true);
      return;
    }
    working = new AbortController();
    note(true);
    say("Looks at the file.");
    try {
      const end = await send(file, working.signal);
      current = null;
      input.value = "";
      say(end.told);
    } catch (error) {
      if (error.name !== "AbortError") {
        say(error instanceof Refused ? error.message : "The file cannot be read. Was it moved or changed? Choose it again.", true);
      }
    } finally {
      working = null;
      note(false);
    }
  });

  cancel.addEventListener("click", async () => {
    if (working) working.abort();
    cancel.disabled = true;
    try {
      if (current) say((await ask("cancel", {upload: current})).told);
      else say("The upload is canceled.");
      current = null;
      meter.hidden = true;
    } catch (error) {
      say(error.message, true);
    } finally {
      cancel.disabled = false;
      note(Boolean(working));
      input.focus();
    }
  });

  form.querySelector("[data-needed]").hidden = true;
  form.querySelector("[data-works]").hidden = false;
  note(false);

  // SHA-256 (FIPS 180-4), for pages by plain http, where browsers offer none.
  function sha256(buffer) {
    const words = count => {
      const primes = [];
      for (let n = 2; primes.length < count; n += 1) if (primes.every(prime => n % prime)) primes.push(n);
      return primes;
    };
    const fraction = value => ((value - Math.floor(value)) * 2 ** 32) | 0;
    const rounds = Int32Array.from(words(64), prime => fraction(Math.cbrt(prime)));
    const state = Int32Array.from(words(8), prime => fraction(Math.sqrt(prime)));
    const length = buffer.byteLength;
    const padded = new Uint8Array(((length + 8 >> 6) + 1) << 6);
    padded.set(new Uint8Array(buffer));
    padded[length] = 0x80;
    const view = new DataView(padded.buffer);
    view.setUint32(padded.length - 8, Math.floor(length / 2 ** 29));
    view.setUint32(padded.length - 4, length << 3 >>> 0);
    const w = new Int32Array(64);
    for (let block = 0; block < padded.length; block += 64) {
      for (let i = 0; i < 16; i += 1) w[i] = view.getInt32(block + 4 * i);
      for (let i = 16; i < 64; i += 1) {
        const x = w[i - 15], y = w[i - 2];
        const s0 = (x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3;
        const s1 = (y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1 | 0;
      }
      let [a, b, c, d, e, f, g, h] = state;
      for (let i = 0; i < 64; i += 1) {
        const s1 = (e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7);
        const t1 = h + s1 + (e & f ^ ~e & g) + rounds[i] + w[i] | 0;
        const s0 = (a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10);
        const t2 = s0 + (a & b ^ a & c ^ b & c) | 0;
        h = g; g = f; f = e; e = d + t1 | 0; d = c; c = b; b = a; a = t1 + t2 | 0;
      }
      state[0] += a; state[1] += b; state[2] += c; state[3] += d;
      state[4] += e; state[5] += f; state[6] += g; state[7] += h;
    }
    const digest = new DataView(new ArrayBuffer(32));
    state.forEach((word, i) => digest.setInt32(4 * i, word));
    return digest.buffer;
  }
})();
