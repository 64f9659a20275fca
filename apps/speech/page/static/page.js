// The page: buttons, pictures, words. Sound goes to `Utterance`, shares come back to the strips.

import { asSignal, Strip } from "/page/draw.js";
import { Conversation, ConversationError } from "/page/parties.js";
import { percentile, Utterance } from "./listener.js";
import { Microphone, readFile, SoundError } from "./sound.js";

const BAR_S = 0.02;
const FILE_BLOCK_S = 0.1;
const NOISE_PER_BAR = 3;
const QUIET_S = 3;
const CLIPPED = 5; // blocks, before the speaker is told; a clean one makes up for a tenth
const MOST_CLIPPED = 25; // so that it is forgotten some seconds after the last
const LATE_S = 4; // of sound that waits, before the speaker is told
const TOO_LATE_S = 30; // before nothing more is recorded
const ATTEMPTS = 4; // to reach organizations that are not connected to each other
const PAUSE_MS = 1500;
const $ = (id) => document.getElementById(id);

const wave = new Strip($("wave"), "--wave", 4);
const strips = [];
let settings = null;
let conversation = null;
let utterance = null;
let microphone = null;
let loud = { clipped: 0, quiet: 0 };

const bytes = (count) => {
  const [divided, unit] = count < 1e6 ? [count / 1e3, "kB"] : [count / 1e6, "MB"];
  return `${divided < 10 ? divided.toFixed(1) : Math.round(divided)} ${unit}`;
};
const seconds = (value) => (value === null ? "–" : `${value.toFixed(2)} s`);

function say(text) {
  $("status").textContent = text;
}

function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

function show(name, value) {
  document.querySelector(`[data-meter="${name}"]`).textContent = value;
}

async function begin() {
  settings = await (await fetch("/page.json")).json();
  for (const [name, url] of Object.entries(settings.parties)) {
    const party = $("party").content.cloneNode(true).firstElementChild;
    party.querySelector("strong").textContent = name;
    party.querySelector(".place").textContent = `gets noise, at ${new URL(url).host}`;
    const canvas = party.querySelector("canvas");
    canvas.setAttribute("aria-label", `The share that ${name} gets: random numbers`);
    $("parties").append(party);
    strips.push({ name, strip: new Strip(canvas, `--share-${strips.length % 3}`), count: party.querySelector(".count") });
  }
  document.documentElement.dataset.ready = "yes";
}

async function connect() {
  if (conversation && !conversation.closed) return;
  say("Connecting to every organization …");
  for (let attempt = 1; ; attempt++) {
    try {
      conversation = await Conversation.open(settings.parties, { answer, over, stopping });
      return;
    } catch (error) {
      if (!error.later || attempt === ATTEMPTS) throw error;
      say("The organizations are connecting to each other …");
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

function answer(event) {
  utterance?.answer(event);
  measure();
}

/** The parties' session comes to its end in order: what was said is heard out. */
async function stopping() {
  if (utterance && !utterance.ending) {
    complain("The organizations end their session: what was heard until now is still read, and nothing after it.");
    await finish();
  } else if (utterance) {
    await utterance.finished.catch(() => {});
  }
  conversation.close();
}

function over(why) {
  if (!utterance) return; // whoever asked for the conversation is told
  utterance.fail(why);
  complain(`The conversation has ended: ${why}. What is on its way is lost; try again.`);
  rest();
}

/** A new utterance on an open conversation. */
async function start() {
  complain("");
  $("text").textContent = "";
  $("text").dataset.final = "no";
  wave.clear();
  for (const { strip } of strips) strip.clear();
  await connect();
  loud = { clipped: 0, quiet: 0 };
  utterance = new Utterance(conversation, { shared, text });
  $("state").hidden = false;
  $("state").textContent = "listening";
  return utterance;
}

function shared(shares, frames) {
  const second = settings.app.model.sample_rate / settings.app.model.hop_length;
  const bars = Math.round(frames / second / BAR_S);
  shares.forEach((share, party) => {
    const name = conversation.lines[party].name;
    const shown = strips.find((each) => each.name === name);
    shown.strip.push(asSignal(share.subarray(0, NOISE_PER_BAR * bars), conversation.ringBits), NOISE_PER_BAR);
  });
  measure();
}

function text(said, final) {
  $("text").textContent = said;
  $("text").scrollTop = $("text").scrollHeight; // the latest words
  $("state").textContent = final ? "final" : "partial";
  $("text").dataset.final = final ? "yes" : "no";
}

function measure() {
  if (!utterance || !conversation) return;
  const { meter } = utterance;
  const pair = (values) => (values.length ? `${percentile(values, 0.5).toFixed(2)} · ${percentile(values, 0.95).toFixed(2)} s` : "–");
  show("latency", pair(meter.latencies));
  const slow = microphone ? `now ${seconds(meter.behind)} behind` : "with a microphone alone";
  show("latency-note", meter.latencies.length ? `half within · 95 % within; ${slow}` : slow);
  show("flight", pair(meter.flights));
  show("rounds", meter.rounds || "–");
  show("chunks", `${meter.chunks} chunks, the widest ${((meter.widest * settings.app.model.hop_length) / settings.app.model.sample_rate).toFixed(1)} s`);
  const work = conversation.lines.reduce((sum, { workBytes }) => sum + workBytes.now - workBytes.first, 0);
  show("work", bytes(work));
  show("sent", bytes(conversation.lines.reduce((sum, { traffic }) => sum + traffic.sent, 0)));
  show("factor", meter.heardSeconds ? (meter.busy / meter.heardSeconds).toFixed(2) : "–");
  show("heard", `${meter.heardSeconds.toFixed(1)} s of sound`);
  for (const { name, count } of strips) {
    const line = conversation.lines.find((each) => each.name === name);
    count.textContent = `${bytes(line.traffic.sent)} there, ${bytes(line.traffic.received)} back`;
  }
}

function draw(samples, rate) {
  wave.push(samples, Math.round(BAR_S * rate));
  const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  loud.clipped = peak >= 0.999 ? Math.min(loud.clipped + 1, MOST_CLIPPED) : Math.max(0, loud.clipped - 0.1);
  loud.quiet = peak < 0.002 ? loud.quiet + samples.length / rate : 0;
}

/** What to say of the sound itself. */
function remark() {
  if (loud.quiet > QUIET_S) return "Nothing but silence comes: is the microphone muted?";
  if (utterance?.backlog > LATE_S) return "The organizations cannot keep up: the text comes later and later.";
  if (loud.clipped > CLIPPED) return "The sound is clipped: speak softer, or farther from the microphone.";
  return "Listening. Press again when you are done.";
}

async function listen() {
  $("microphone").disabled = $("file").disabled = true;
  try {
    const waiting = [];
    let ear = null;
    microphone = await Microphone.open(
      (samples, rate, at) => {
        draw(samples, rate);
        if (ear?.backlog > TOO_LATE_S) return void tooLate();
        say(remark());
        if (ear) ear.hear(samples, rate, at);
        else waiting.push([samples, rate, at]);
      },
      () => finish(),
    );
    ear = await start();
    for (const [samples, rate, at] of waiting) ear.hear(samples, rate, at);
    $("microphone-label").textContent = "Stop";
    document.body.dataset.listening = "yes";
    $("microphone").disabled = false;
  } catch (error) {
    await trouble(error);
  }
}

/** What waits would grow without end: it is heard out, and nothing is added to it. */
function tooLate() {
  complain(
    `The organizations cannot keep up: ${TOO_LATE_S} s of sound wait. The recording was stopped here; ` +
      "what you said until now is still being read. Speak again when it is done.",
  );
  return finish();
}

async function finish() {
  const ear = utterance;
  const open = microphone;
  microphone = null;
  document.body.dataset.listening = "no";
  $("microphone").disabled = true;
  await open?.stop();
  if (!ear) return rest();
  say("Waiting for the last words …");
  if (!ear.ending) ear.end();
  try {
    await ear.finished;
    say("Done. Nobody else has heard it.");
  } catch {
    say("");
  }
  measure();
  return rest();
}

async function read(file) {
  $("microphone").disabled = $("file").disabled = true;
  try {
    const { samples, rate } = await readFile(file);
    const ear = await start();
    say(`Sharing ${file.name} …`);
    const block = Math.round(FILE_BLOCK_S * rate);
    for (let at = 0; at < samples.length; at += block) {
      const piece = samples.subarray(at, at + block);
      draw(piece, rate);
      ear.hear(piece, rate, null);
      await Promise.race([ear.feed.room(), ear.finished]);
      if (ear.ending) break; // the parties' session comes to its end, as was said
    }
    await finish();
  } catch (error) {
    await trouble(error);
  }
}

async function trouble(error) {
  if (error instanceof SoundError) complain(error.message);
  else if (error instanceof ConversationError) complain(`There is no conversation: ${error.message}.`);
  else if ($("problem").hidden) complain(`That did not work: ${error.message}`);
  say("");
  const open = microphone;
  microphone = null;
  await open?.stop();
  rest();
}

/** Ready for the next one. */
function rest() {
  if (microphone) {
    microphone.stop();
    microphone = null;
  }
  utterance = null;
  document.body.dataset.listening = "no";
  $("microphone-label").textContent = "Use the microphone";
  $("microphone").disabled = $("file").disabled = false;
  if ($("state").textContent !== "final") $("state").hidden = true;
}

$("microphone").addEventListener("click", () => (microphone ? finish() : listen()));
$("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (file) read(file);
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file && !$("file").disabled) read(file);
});
window.addEventListener("resize", () => [wave, ...strips.map(({ strip }) => strip)].forEach((strip) => strip.redraw()));
begin().catch((error) => complain(`The page cannot begin: ${error.message}`));
