// Miners and validators, with curves of score and latency.

import { page } from "./api.js";
import { curve } from "./chart.js";
import { code, h, more, number, percent, section, table } from "./dom.js";

const micros = (us) => (us === null || us === undefined ? "–" : `${(us / 1000).toFixed(1)} ms`);
const millis = (ms) => (ms === null || ms === undefined ? "–" : `${number(ms)} ms`);
const tao = (rao) => (rao / 1e9).toLocaleString("en", { maximumFractionDigits: 3 });

const pages = (path, label, head, row, none) => async () => {
  const shown = h("div", {});
  const load = async (after) => {
    const found = await page(path, after);
    shown.lastElementChild?.matches("p") && shown.lastElementChild.remove();
    shown.append(table(label, head, found.items.map(row), none), more(found.next, load) ?? "");
  };
  await load();
  return [section(label, shown)];
};

export const miners = pages("/v1/miners", "Miners",
  ["uid", "hotkey", "serves at", "incentive", "score", "score over time", "correct / answered / asked", "p50", "p99", "p99 over time", "emission"],
  (one) => [
    String(one.uid),
    code(one.hotkey),
    one.axon ?? "nowhere",
    percent(one.incentive),
    one.score === null ? "–" : percent(one.score),
    curve(`Score of miner ${one.uid}`, one.scores.length > 0 ? one.scores : one.incentives, percent),
    `${number(one.correct)} / ${number(one.answered)} / ${number(one.asked)}`,
    micros(one.p50_us),
    micros(one.p99_us),
    curve(`p99 of miner ${one.uid}`, one.latencies, micros),
    tao(one.emission),
  ], "No miner is on the metagraph.");

export const validators = pages("/v1/validators", "Validators",
  ["uid", "hotkey", "stake", "dividends", "trust", "trust over time", "reports", "p50", "p99", "p99 over time", "active"],
  (one) => [
    String(one.uid),
    code(one.hotkey),
    tao(one.stake),
    percent(one.dividends),
    percent(one.trust),
    curve(`Trust of validator ${one.uid}`, one.trusts, percent),
    number(one.reports),
    millis(one.p50_ms),
    millis(one.p99_ms),
    curve(`p99 of validator ${one.uid}`, one.latencies, millis),
    one.active ? ["yes", "good"] : ["no", "warn"],
  ], "No validator is on the metagraph.");
