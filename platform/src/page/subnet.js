// Miners and validators, with curves of score and latency.

import { page } from "./api.js";
import { curve } from "./chart.js";
import { code, number, paged, percent, section, table } from "./dom.js";

const micros = (us) => (us === null || us === undefined ? "–" : `${(us / 1000).toFixed(1)} ms`);
const millis = (ms) => (ms === null || ms === undefined ? "–" : `${number(ms)} ms`);
const tao = (rao) => (rao / 1e9).toLocaleString("en", { maximumFractionDigits: 3 });

const pages = (path, label, head, row, none) => async () => {
  const shown = await paged(async (after) => {
    const found = await page(path, after);
    return { shown: table(label, head, found.items.map(row), none), next: found.next };
  });
  return [section(label, shown)];
};

export const miners = pages("/v1/miners", "Miners",
  ["uid", "hotkey", "score", "score over time", "incentive", "over epochs", "p50", "p99", "p99 over time", "correct / answered / asked", "serves at",
    "emission"],
  (one) => [
    String(one.uid),
    code(one.hotkey),
    one.score === null ? "–" : percent(one.score),
    curve(`Score of miner ${one.uid}`, one.scores, percent),
    percent(one.incentive),
    curve(`Incentive of miner ${one.uid}`, one.incentives, percent),
    micros(one.p50_us),
    micros(one.p99_us),
    curve(`p99 of miner ${one.uid}`, one.latencies, micros),
    `${number(one.correct)} / ${number(one.answered)} / ${number(one.asked)}`,
    one.axon ?? "nowhere",
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

export const audits = pages("/v1/audits", "Audits",
  ["id", "kind", "hotkey", "measured at", "uptime", "latency", "verdicts", "epoch", "bounty", "active"],
  (one) => [
    String(one.id),
    one.kind ?? "–",
    one.hotkey ? code(one.hotkey) : "–",
    one.endpoint,
    typeof one.settled?.uptime === "number" ? percent(one.settled.uptime) : "–",
    micros(one.settled?.latency_us),
    one.settled ? `${number(one.settled.verdicts)} of ${number(one.settled.group_size)}` : "–",
    number(one.settled?.epoch),
    one.settled?.bounty ?? "–",
    one.active ? ["yes", "good"] : ["no", "warn"],
  ], "No node is audited.");
